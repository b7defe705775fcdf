"""How long a publication takes, how much it writes and how much memory it needs: first, and after one change.

    .venv/bin/python -m benchmarks.publish --people 100000 [--live]

People are synthetic (`kiosk sandbox people --synthetic`), the repository is what `kiosk sandbox` writes. With
--live a sandbox that runs publishes them by itself: what a payment takes meanwhile, and how long after a
withdrawal's answer its tombstone is out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.sandbox import Till
from kiosk.acquirer.operations import withdrawal_request
from kiosk.app.workers import SystemClock
from kiosk.cli.processes import running_sandbox
from kiosk.sandbox.ledger import Ledger
from kiosk.sandbox.publisher import Publisher
from kiosk.sandbox.synthetic import enrol_synthetic

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--references", type=int, default=1)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.live:
        live(asked.people, asked.references)
    else:
        alone(asked.people, asked.references, as_json=asked.json)


def alone(people: int, references: int, *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="publish-") as name:
        folder, clock = Path(name), SystemClock()
        with closing(Ledger(folder / "ledger.sqlite")) as ledger:
            publisher = Publisher(folder, ledger, clock)
            repository = publisher.repository.folder
            rows = [
                measured(
                    "enrol",
                    folder,
                    lambda: enrol_synthetic(
                        folder, ledger, clock, people, references=references, model_id="net-1"
                    ),
                ),
                measured("create", repository, publisher.create),
                measured("publish all", repository, publisher.publish),
                measured("nothing to do", repository, publisher.publish_people),
            ]
            with ledger.transaction():
                ledger.withdraw("syn-0000007", clock.utc_s())
            rows.append(measured("one withdrawal", repository, publisher.publish_people))
            rows.append(measured("renew the epoch", repository, publisher.renew_epoch))
            found = publisher.published()
    if as_json:
        print(json.dumps({"people": found.people, "segments": found.segments, "rows": rows}))
        return
    print(f"{found.people} people, {found.references} references, {found.segments} segments")
    for row in rows:
        print(
            f"{row['what']:16} {row['s']:8.2f} s  {row['cpu_s']:8.2f} s CPU  {row['files']:5} files "
            f"{row['mib']:8.2f} MiB written  {row['peak_mib']:6.0f} MiB peak"
        )


def live(people: int, references: int) -> None:
    with tempfile.TemporaryDirectory(prefix="publish-") as name:
        folder, clock = Path(name), SystemClock()
        with running_sandbox(folder), closing(Ledger(folder / "sandbox" / "ledger.sqlite")) as ledger:
            till, publisher = Till(folder, 0), Publisher(folder / "sandbox", ledger, clock)
            paid(till, 50)
            told("payments before", paid(till, 200))
            enrol_synthetic(
                folder / "sandbox", ledger, clock, people, references=references, model_id="net-1"
            )
            start, times = time.perf_counter(), []
            while publisher.published().people < people:
                times += paid(till, 1)
            print(f"{people} people were out {time.perf_counter() - start:.1f} s after the last had enrolled")
            told("payments meanwhile", times)
            out = []
            for number in range(20):
                before = publisher.published().tombstones
                till.client.send(withdrawal_request(f"syn-{number:07d}"))
                start = time.perf_counter()
                while publisher.published().tombstones == before:
                    time.sleep(0.005)
                out.append(time.perf_counter() - start)
            told("tombstone out after the answer", out)


def paid(till: Till, number: int) -> list[float]:
    """Seconds of each of so many payments."""
    times = []
    for _ in range(number):
        start = time.perf_counter()
        till.pay()
        times.append(time.perf_counter() - start)
    return times


def told(what: str, times: list[float]) -> None:
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    print(f"{what}: n {len(times)}, p50 {p50:.0f} ms, p99 {p99:.0f} ms, most {max(times) * 1000:.0f} ms")


def measured(what: str, folder: Path, call: Callable[[], object]) -> dict[str, float | str]:
    """Wall and CPU time, files that are new in `folder`, and the process's peak memory meanwhile."""
    before = states(folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    start, cpu = time.perf_counter(), time.process_time()
    call()
    took, used = time.perf_counter() - start, time.process_time() - cpu
    new = [size for path, (at, size) in states(folder).items() if before.get(path) != (at, size)]
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return {
        "what": what,
        "s": round(took, 3),
        "cpu_s": round(used, 3),
        "files": len(new),
        "mib": round(sum(new) / MIB, 3),
        "peak_mib": round(int(peak.split()[1]) / 1024, 1),
    }


def states(folder: Path) -> dict[Path, tuple[int, int]]:
    """When each file was written, and its size."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()
    }


if __name__ == "__main__":
    main()
