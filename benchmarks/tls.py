"""What the line costs: a greeting and a call, over TCP, TLS 1.3 anew and resumed, in turn, in one run.

    .venv/bin/python -m benchmarks.tls [--runs 200]

Two sandboxes in processes of their own, one with TLS. Prints JSON: median and 95th percentile in ms. `greet`
is TCP and handshake; `policy` is a whole call: connect, sign, ask, verify.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kiosk.acquirer.client import AcquirerClient, Greeted, PolicyReceived
from kiosk.acquirer.messages import policy_request
from kiosk.acquirer.tls import Tls, TlsIdentity
from kiosk.acquirer.trust import load_trust
from kiosk.app.workers import SystemClock
from kiosk.cli.processes import running_sandbox
from kiosk.devices.key_software import SoftwareKey
from kiosk.devices.tls_key import TlsKey


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        plain, secured = Path(name) / "plain", Path(name) / "secured"
        plain.mkdir()
        secured.mkdir()
        with running_sandbox(plain), running_sandbox(secured, "--tls"):
            took = measured(plain, secured, runs)
    figures = {
        what: {"p50_ms": round(float(np.median(ms)), 2), "p95_ms": round(float(np.percentile(ms, 95)), 2)}
        for what, ms in took.items()
    }
    print(json.dumps({"runs": runs, **figures}, indent=2))
    return 0


def measured(plain: Path, secured: Path, runs: int) -> dict[str, list[float]]:
    resuming = client(secured, tls(secured))
    took: dict[str, list[float]] = {}

    def timed(what: str, call: Callable[[], object], kind: type) -> None:
        started = time.perf_counter()
        reply = call()
        took.setdefault(what, []).append((time.perf_counter() - started) * 1000)
        if not isinstance(reply, kind):
            raise SystemExit(f"{what}: {reply}")

    for _ in range(runs):
        anew = client(secured, tls(secured))
        timed("greet tcp", client(plain, None).greet, Greeted)
        timed("greet tls", anew.greet, Greeted)
        timed("policy tcp", lambda: client(plain, None).send(policy_request()), PolicyReceived)
        timed("policy tls", lambda anew=anew: anew.send(policy_request()), PolicyReceived)
        timed("policy tls resumed", lambda: resuming.send(policy_request()), PolicyReceived)
        timed("client made", lambda: client(plain, None), AcquirerClient)
    return took


def tls(folder: Path) -> Tls:
    key = TlsKey.of(folder, SoftwareKey.load_or_create(folder / "device.key"))
    trust = load_trust(folder / "sandbox" / "acquirer.json").tls
    if trust is None:
        raise SystemExit("the sandbox has no TLS")
    return Tls(trust, TlsIdentity(key.file, key.password))


def client(folder: Path, line: Tls | None) -> AcquirerClient:
    trust = load_trust(folder / "sandbox" / "acquirer.json")
    key = SoftwareKey.load_or_create(folder / "device.key")
    return AcquirerClient(trust.base_url, key, trust.acquirer_keys, SystemClock(), tls=line)


if __name__ == "__main__":
    sys.exit(main())
