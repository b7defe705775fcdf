"""What a signature costs: a software key and one on a SoftHSM2 token, in turn, in one run.

    .venv/bin/python -m benchmarks.keys [--runs 500]

Prints JSON: median and 95th percentile in ms of `sign`, of `check` (asked before each order), and of a signed
request with its verification by the other side. A real token is slower than SoftHSM2: a TPM takes tens of ms.
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

from kiosk.acquirer.signing import NonceCache, Signer, TrustedKeys, sign_request, verify_request
from kiosk.app.workers import SystemClock
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.ports import KeyPort
from tests.tokens import soft_token


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name, soft_token() as soft:
        ring = soft.ring(Path(name))
        ring.make(time.time())
        keys = {"software": SoftwareKey.load_or_create(Path(name) / "device.key"), "softhsm2": ring.current()}
        calls = {
            f"{who} {what}": call
            for who, key in keys.items()
            for what, call in (
                ("sign", lambda key=key: key.sign(b"m" * 400)),
                ("check", key.check),
                ("request signed and verified", signed_and_verified(key)),
            )
        }
        for call in calls.values():
            call()
        took: dict[str, list[float]] = {what: [] for what in calls}
        for _ in range(runs):  # in turn, so that whatever else runs here slows all alike
            for what, call in calls.items():
                start = time.perf_counter()
                call()
                took[what].append((time.perf_counter() - start) * 1000)
    figures = {
        what: {"p50_ms": round(float(np.median(ms)), 3), "p95_ms": round(float(np.percentile(ms, 95)), 3)}
        for what, ms in took.items()
    }
    print(json.dumps({"runs": runs, **figures}, indent=2))
    return 0


def signed_and_verified(key: KeyPort) -> Callable[[], None]:
    clock = SystemClock()
    signer, trusted = Signer(key, clock), TrustedKeys({key.key_id: key.public_key_der()})
    nonces, body = NonceCache(clock.utc_s() - 60), b'{"amount": 3850}'

    def call() -> None:
        request = sign_request(
            signer, "POST", "http://here/v1/payments", body=body, idempotency_key="r:payment:1"
        )
        verify_request(request, body, trusted, clock, nonces)

    return call


if __name__ == "__main__":
    sys.exit(main())
