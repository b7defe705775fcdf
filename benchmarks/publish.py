"""How long a publication takes, how much it writes and how much memory it needs: first, and after one change.

    .venv/bin/python benchmarks/publish.py --people 100000

People are synthetic (`kiosk sandbox people --synthetic`), the repository is what `kiosk sandbox` writes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from kiosk.app.workers import SystemClock
from kiosk.sandbox.ledger import Ledger
from kiosk.sandbox.publisher import Publisher
from kiosk.sandbox.synthetic import enrol_synthetic

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--references", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
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
                        folder, ledger, clock, asked.people, references=asked.references, model_id="net-1"
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
    if asked.json:
        print(json.dumps({"people": found.people, "segments": found.segments, "rows": rows}))
        return
    print(f"{found.people} people, {found.references} references, {found.segments} segments")
    for row in rows:
        print(
            f"{row['what']:16} {row['s']:8.2f} s  {row['cpu_s']:8.2f} s CPU  {row['files']:5} files "
            f"{row['mib']:8.2f} MiB written  {row['peak_mib']:6.0f} MiB peak"
        )


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
