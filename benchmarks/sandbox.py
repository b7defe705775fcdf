"""How many payments one acquirer process takes, and whether the ten-thousandth costs what the first did.

    .venv/bin/python -m benchmarks.sandbox [--clients 4] [--seconds 10] [--payments 10000] [--out DIR]

First: kiosks in processes of their own ask one sandbox for payments as fast as they are answered. Then one
kiosk with a real journal pays so many times; time, processor time and memory of both sides are taken every
thousand (processor time is what other work on the machine leaves alone). Prints JSON; with --out also a plot.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.acquirer.client import AcquirerClient, Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import Terminal, new_ref, payment_request
from kiosk.acquirer.trust import load_trust
from kiosk.app.workers import SystemClock
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.chain import GENESIS
from kiosk.domain.money import Money
from kiosk.domain.payment import Authorise, Evidence, Order, Payer, Result
from kiosk.sandbox.keys import Terminals

STEP = 1_000


class Till:
    """One kiosk with a key of its own, known to the sandbox of `folder`."""

    def __init__(self, folder: Path, number: int) -> None:
        self.clock, own = SystemClock(), folder / f"kiosk-{number}"
        own.mkdir(exist_ok=True)
        key = SoftwareKey.load_or_create(own / "device.key")
        Terminals(folder / "sandbox", folder).register(own / "device.pub")
        trust = load_trust(folder / "sandbox" / "acquirer.json")
        self.client = AcquirerClient(trust.base_url, key, trust.acquirer_keys, self.clock)
        self._terminal = Terminal("M-BENCH", "S-BENCH", f"T-{number}", "test", "Shop")
        self._number, self._made = number, 0

    def pay(self, journal: Journal | None = None) -> None:
        """One payment of a payer who has not paid before; written down first where there is a journal."""
        self._made += 1
        name = f"{self._number}-{self._made}"
        effect = Authorise(
            Order(f"O-{name}", Money(100, "CNY"), "Shop"),
            Payer(f"pyr-{name}", "*ming", "*4821", "consent-1"),
            Evidence(("face",), 1, "high", "high", "high", ("net-1",), 1),
            new_ref(self.clock),
        )
        now, today = self.clock.utc_s(), date.today()  # noqa: DTZ011 - any day does
        exchange = payment_request(
            self._terminal,
            effect,
            sequence=journal.next_sequence() if journal else self._made,
            batch=today.toordinal(),
            created_utc=now,
            confirmed_at=now,
            policy_version=1,
            previous=journal.last_hash if journal else GENESIS,
        )
        if journal:
            journal.open_attempt(effect, exchange, day=today)
        reply = self.client.send(exchange)
        if not isinstance(reply, Verified) or reply.answer.result is not Result.APPROVED:
            raise SystemExit(f"not approved: {reply}")
        if journal:
            journal.conclude(effect.ref, reply.answer)


def sell(folder: Path, number: int, seconds: float, start: float) -> int:
    till, sold = Till(folder, number), 0
    time.sleep(max(0.0, start - time.time()))
    while time.time() < start + seconds:
        till.pay()
        sold += 1
    return sold


def throughput(folder: Path, clients: int, seconds: float) -> dict[str, Any]:
    start = time.time() + 2
    with multiprocessing.get_context("spawn").Pool(clients) as pool:
        sold = pool.starmap(sell, [(folder, number, seconds, start) for number in range(clients)])
    return {
        "clients": clients,
        "seconds": seconds,
        "payments": sum(sold),
        "per_s": round(sum(sold) / seconds, 1),
    }


def flat(folder: Path, payments: int, sandbox: int) -> list[dict[str, Any]]:
    till, rows = Till(folder, 99), []
    with Journal(folder / "journal.sqlite") as journal:
        for first in range(0, payments, STEP):
            took, spent = [], (time.process_time(), cpu_s(sandbox))
            for _ in range(min(STEP, payments - first)):
                begun = time.perf_counter()
                till.pay(journal)
                took.append((time.perf_counter() - begun) * 1000)
            row = {
                "payments": first + len(took),
                "p50_ms": round(float(np.median(took)), 2),
                "p95_ms": round(float(np.percentile(took, 95)), 2),
                "p99_ms": round(float(np.percentile(took, 99)), 2),
                "kiosk_cpu_ms": round((time.process_time() - spent[0]) * 1000 / len(took), 2),
                "sandbox_cpu_ms": round((cpu_s(sandbox) - spent[1]) * 1000 / len(took), 2),
                "kiosk_rss_mb": rss_mb("self"),
                "sandbox_rss_mb": rss_mb(sandbox),
            }
            rows.append(row)
            print(row, file=sys.stderr)
        begun = time.perf_counter()
        whole = journal.verify() is None
        rows.append({"verify_s": round(time.perf_counter() - begun, 2), "whole": whole})
    begun = time.perf_counter()
    Journal(folder / "journal.sqlite").close()
    rows[-1]["open_s"] = round(time.perf_counter() - begun, 2)
    return rows


def cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(process: int | str) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return round(int(kib) / 1024, 1)


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sold = [row for row in rows if "payments" in row]
    figure, (times, memory) = pyplot.subplots(2, 1, figsize=(8, 6), sharex=True, layout="constrained")
    for name in ("p50_ms", "p95_ms", "kiosk_cpu_ms", "sandbox_cpu_ms"):
        times.plot([row["payments"] for row in sold], [row[name] for row in sold], label=name)
    for name in ("kiosk_rss_mb", "sandbox_rss_mb"):
        memory.plot([row["payments"] for row in sold], [row[name] for row in sold], label=name)
    times.set_ylabel("one payment, ms")
    memory.set_ylabel("memory, MB")
    memory.set_xlabel("payments so far")
    for axes in (times, memory):
        axes.set_ylim(bottom=0)
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--payments", type=int, default=10_000)
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    from tests.sandbox.conftest import running

    with tempfile.TemporaryDirectory(prefix="kiosk-bench-") as name:
        folder = Path(name)
        terms = {"ceiling": {"per_payment": 100_000}}
        (folder / "sandbox").mkdir()
        (folder / "sandbox" / "policy.json").write_text(json.dumps(terms))
        with running(folder) as sandbox:
            found = {"throughput": throughput(folder, options.clients, options.seconds)}
            found["flat"] = flat(folder, options.payments, sandbox.process.pid)
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        plot(found["flat"], Path(options.out) / "payments.png")
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
