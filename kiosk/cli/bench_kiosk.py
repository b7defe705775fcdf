"""`kiosk bench`, the sections payment and app: a real kiosk and a real sandbox in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from kiosk.acquirer.client import AcquirerClient, Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import Exchange, Terminal, new_ref, payment_request
from kiosk.acquirer.signing import (
    NonceCache,
    Signer,
    TrustedKeys,
    sign_answer,
    sign_request,
    verify_answer,
    verify_request,
)
from kiosk.acquirer.trust import load_trust
from kiosk.app.config import Config
from kiosk.app.wiring import Base
from kiosk.app.workers import SystemClock
from kiosk.cli.processes import command, running_sandbox
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.money import Money
from kiosk.domain.payment import Authorise, Evidence, Order, Payer
from kiosk.gallery.epoch import LOCAL_REGION, Epoch
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.template import TEMPLATE_SIZE, PayerRecord, Reference, Template

__all__ = ["app_figures", "payment_figures"]

ENROLLED: Final = 20_000
"""`goals.md`: at most 400 MB with so many enrolled."""
IDLE_S: Final = 5.0


def _times_ms(run: Callable[[], object], runs: int) -> dict[str, float]:
    """Median and 95th percentile of `runs` calls, in ms."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        run()
        taken.append((time.perf_counter_ns() - start) / 1e6)
    return {"p50": float(np.percentile(taken, 50)), "p95": float(np.percentile(taken, 95))}


class _Desk:
    """A kiosk's side of payments, one after another, without a camera."""

    def __init__(self, folder: Path, address: str, journal: Journal) -> None:
        self.clock = SystemClock()
        self.key = SoftwareKey.load_or_create(folder / "device.key")
        self.journal = journal
        self.approved = 0
        trust = load_trust(folder / "sandbox" / "acquirer.json")
        self._client = AcquirerClient(address, self.key, trust.acquirer_keys, self.clock)
        self._terminal = Terminal("M-BENCH", "S-BENCH", "T-BENCH", "test", "Bench")
        self._today = datetime.now(UTC).date()
        self._count = 0

    def attempt(self) -> tuple[Authorise, Exchange]:
        """Another payer, another order, frozen."""
        self._count += 1
        effect = Authorise(
            Order(f"B-{self._count}", Money(100, "CNY"), "Bench"),
            Payer(f"bench-{self._count}", "*", "••••", "consent-v1"),
            Evidence(("face",), 1, "high", "high", "high", ("bench",), 1),
            new_ref(self.clock),
        )
        exchange = payment_request(
            self._terminal,
            effect,
            sequence=self.journal.next_sequence(),
            batch=1,
            created_utc=self.clock.utc_s(),
            confirmed_at=self.clock.utc_s(),
            policy_version=1,
            previous=self.journal.last_hash,
        )
        return effect, exchange

    def write_down(self) -> tuple[Authorise, Exchange]:
        effect, exchange = self.attempt()
        self.journal.open_attempt(effect, exchange, day=self._today)
        return effect, exchange

    def pay(self) -> None:
        effect, exchange = self.write_down()
        reply = self._client.send(exchange)
        if isinstance(reply, Verified):
            self.journal.conclude(effect.ref, reply.answer)
            self.approved += reply.answer.result == "approved"


def payment_figures(runs: int) -> dict[str, Any]:
    """Times in ms over `runs`; `payments_per_s` is one payment after another, not a load test."""
    with tempfile.TemporaryDirectory(prefix="kiosk-bench-") as name:
        folder = Path(name)
        with running_sandbox(folder) as address, Journal(folder / "journal.sqlite") as journal:
            desk = _Desk(folder, address, journal)
            figures: dict[str, Any] = {
                "runs": runs,
                "sign_and_verify_request_and_answer_ms": _times_ms(_signing(desk, address), runs),
                "journal_write_ms": _times_ms(desk.write_down, runs),
            }
            start = time.perf_counter()
            figures["authorise_ms"] = _times_ms(desk.pay, runs)
            figures["payments_per_s"] = runs / (time.perf_counter() - start)
            figures["approved"] = desk.approved
    return figures


def _signing(desk: _Desk, address: str) -> Callable[[], None]:
    """Both sides' work on one payment: a request signed and verified, its answer signed and verified."""
    signer = Signer(desk.key, desk.clock)
    trusted = TrustedKeys({desk.key.key_id: desk.key.public_key_der()})
    nonces = NonceCache(desk.clock.utc_s() - 60)
    _, exchange = desk.attempt()
    body = exchange.body or b""

    def sign_and_verify() -> None:
        request = sign_request(signer, "POST", address, body=body, idempotency_key=exchange.idempotency_key)
        verify_request(request, body, trusted, desk.clock, nonces)
        verify_answer(sign_answer(signer, request, 200, b"{}"), b"{}", trusted, desk.clock)

    return sign_and_verify


def app_figures(runs: int) -> dict[str, Any]:
    """Cold start in s (`runs` starts), idle load in % of a core, resident memory in bytes."""
    with tempfile.TemporaryDirectory(prefix="kiosk-bench-") as name:
        folder = Path(name)
        with running_sandbox(folder):
            starts = [_start_once(folder)["start_s"] for _ in range(runs)]
            _enrol_many(folder, ENROLLED)
            full = _start_once(folder, idle_s=IDLE_S)
    return {
        "runs": runs,
        "cold_start_s": {"p50": float(np.median(starts)), "max": float(np.max(starts))},
        "enrolled": ENROLLED,
        "cold_start_full_s": full["start_s"],
        "idle_core_percent": full["idle_core_percent"],
        "rss_bytes": full["rss_bytes"],
    }


def _start_once(folder: Path, idle_s: float = 0.0) -> dict[str, float]:
    """`kiosk run` without a display, until its first picture; then `idle_s` of watching; then its end."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QT_QUICK_BACKEND": "software"}
    arguments = command("run", "--windowed", "--data-dir", folder)
    begin = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        start_s = time.monotonic() - begin
        if line.strip() != "kiosk ready":
            raise RuntimeError(f"the kiosk did not come up: {line!r}")
        figures = {"start_s": start_s}
        if idle_s:
            before, since = _cpu_s(process.pid), time.monotonic()
            time.sleep(idle_s)
            spent = (_cpu_s(process.pid) - before) / (time.monotonic() - since)
            figures |= {"idle_core_percent": 100 * spent, "rss_bytes": float(_rss(process.pid))}
        return figures
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        if process.stdout:
            process.stdout.close()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _enrol_many(folder: Path, people: int) -> None:
    """Made-up templates in a sealed gallery of the kiosk's own."""
    base = Base(folder, Config())
    vectors = np.random.default_rng(1).normal(size=(people, TEMPLATE_SIZE))
    records = [
        PayerRecord(
            token=f"bench-{number}",
            masked_name="*",
            masked_account="••••",
            digits=f"{number % 10_000:04}",
            consent_ref="consent-v1",
            enrolled_at_s=0,
            references=(Reference(Template.of(vector), base.embedding_id()),),
        )
        for number, vector in enumerate(vectors)
    ]
    GalleryStore(folder / "gallery", base.key).save(
        Gallery(records, version=1, epoch=Epoch.new(LOCAL_REGION))
    )
