"""A sandbox in a process of its own, and a kiosk's side to talk to it with."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from kiosk.acquirer.client import AcquirerClient
from kiosk.acquirer.tls import Tls
from kiosk.acquirer.trust import Trust, load_trust
from kiosk.devices.key_software import SoftwareKey
from kiosk.sandbox.ledger import Ledger, LedgerRow

from ..acquirer.parts import Now


@dataclass
class Running:
    """A sandbox process and the data folder that a kiosk shares with it."""

    folder: Path
    process: subprocess.Popen[str]
    address: str
    key: SoftwareKey = field(init=False)
    trust: Trust = field(init=False)

    def __post_init__(self) -> None:
        self.key = SoftwareKey.load_or_create(self.folder / "device.key")
        self.trust = load_trust(self.folder / "sandbox" / "acquirer.json")

    def client(
        self, key: Any = None, *, shift_s: float = 0, answer_timeout_s: float = 10, tls: Tls | None = None
    ) -> AcquirerClient:
        return AcquirerClient(
            self.address,
            key or self.key,
            self.trust.acquirer_keys,
            Now(shift_s),
            tls=tls,
            answer_timeout_s=answer_timeout_s,
        )

    def misbehave(self, *faults: str) -> None:
        answer = requests.post(f"{self.address}/sandbox/faults", json={"faults": list(faults)}, timeout=10)
        assert answer.status_code == 200, answer.text

    def rows(self, order_ref: str) -> list[LedgerRow]:
        ledger = Ledger(self.folder / "sandbox" / "ledger.sqlite")
        try:
            return [row for row in ledger.rows() if row.attempt.order_ref == order_ref]
        finally:
            ledger.close()


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[Running]:
    command = [sys.executable, "-c", "from kiosk.cli.sandbox import app; app()", "--data-dir", str(folder)]
    process = subprocess.Popen([*command, "--port", "0", *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().split()
        assert line[:2] == ["sandbox", "ready"]
        yield Running(folder, process, line[2])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("sandbox")) as started:
        yield started


@pytest.fixture(autouse=True)
def _well_behaved(request: pytest.FixtureRequest) -> None:
    if "sandbox" in request.fixturenames:
        request.getfixturevalue("sandbox").misbehave()
