"""`make faults`: schedules in virtual time and real `kill -9`, one summary, exit code 1 when money was lost.

python -m tests.faults --schedules 1000000 --kills 1000
python -m tests.faults --seed 1234                        that schedule again, step by step
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from .kills import Toll, run_kills
from .schedules import Summary, is_signed, memory_folder, run_schedules
from .world import Place, play

ZEROS = {
    "double_debit": "double debits",
    "unknown_approval": "approved payments that the kiosk does not know",
    "stuck": "orders stuck",
    "over_cap": "days above their cap",
    "books": "other differences between the books",
    "crash": "crashes that nobody asked for",
}


def main() -> int:
    options = _options()
    if options.seed is not None:
        return replay(options.seed)
    started = time.monotonic()
    schedules = run_schedules(
        options.first, options.schedules, jobs=options.jobs, progress=_Progress(options)
    )
    _line("")
    toll = run_kills(
        options.kills, seed=options.first, progress=lambda toll: _line(_of_kills(toll, options.kills))
    )
    _line("")
    found = _as_json(schedules, toll, seconds=time.monotonic() - started)
    if options.out:
        folder = Path(options.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faults.json").write_text(json.dumps(found, indent=2) + "\n")
    _say(json.dumps(found, indent=2) if options.json else _table(schedules, toll, found))
    return 1 if found["violations"] else 0


def replay(seed: int) -> int:
    """One schedule again, printed step by step."""
    with memory_folder() as folder:
        played = play(seed, Place(folder), signed=is_signed(seed), traced=True)
    _say("\n".join(played.trace))
    _say(f"seed {seed}: {played.violation or 'nothing lost, nothing doubled, nothing stuck'}")
    return 1 if played.violation else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--kills", type=int, default=1_000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first schedule's seed")
    parser.add_argument("--seed", type=int, metavar="SEED", help="play this one, and print it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--out", default="", metavar="DIR", help="write faults.json there too")
    return parser.parse_args()


class _Progress:
    """One line on stderr that is written over, every second or so, and a lasting one for each violation."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._wanted, self._said, self._found = options.schedules, 0.0, 0

    def __call__(self, total: Summary) -> None:
        for violation in total.violations[self._found :]:
            _line(_of_violation(violation) + "\n")
        self._found = len(total.violations)
        if total.seconds - self._said >= 1 or total.schedules == self._wanted:
            self._said = total.seconds
            rate = total.schedules / total.seconds
            left_s = (self._wanted - total.schedules) / rate
            _line(
                f"schedules {total.schedules:,} of {self._wanted:,}  {rate:,.0f}/s  "
                f"{left_s / 60:.0f} min left  violations {len(total.violations)}"
            )


def _of_violation(violation: tuple[int, str, str]) -> str:
    seed, _, what = violation
    return f"seed {seed}: {what}; again: make faults SEED={seed}"


def _of_kills(toll: Toll, wanted: int) -> str:
    return (
        f"kills {toll.kills:,} of {wanted:,}  {toll.seconds:.0f} s  payments {toll.approved:,} approved  "
        f"violations {len(toll.violations)}"
    )


def _as_json(schedules: Summary, toll: Toll, *, seconds: float) -> dict[str, Any]:
    kinds = [kind for _, kind, _ in schedules.violations] + [kind for kind, _ in toll.violations]
    return {
        "violations": len(kinds),
        "by_kind": {kind: kinds.count(kind) for kind in ZEROS},
        "seconds": round(seconds, 1),
        "schedules": {
            "n": schedules.schedules,
            "signed": schedules.signed,
            "seconds": round(schedules.seconds, 1),
            "per_second": round(schedules.schedules / schedules.seconds, 1) if schedules.seconds else None,
            "virtual_hours": round(schedules.virtual_hours, 1),
            "met": dict(schedules.met.most_common()),
            "violations": [
                {"seed": seed, "kind": kind, "what": what, "replay": f"make faults SEED={seed}"}
                for seed, kind, what in schedules.violations
            ],
        },
        "kills": toll.as_json(),
    }


def _table(schedules: Summary, toll: Toll, found: dict[str, Any]) -> str:
    met = schedules.met
    rows = [
        ("schedules", f"{schedules.schedules:,} ({schedules.signed:,} over signed messages and files)"),
        ("  time", f"{schedules.seconds:,.0f} s, {found['schedules']['per_second'] or 0:,.0f} a second"),
        ("  virtual time", f"{schedules.virtual_hours:,.0f} hours"),
        ("  attempts to pay", f"{met['attempts']:,} ({met['attempt approved']:,} approved, "
         f"{met['attempt reversed']:,} reversed, {met['attempt declined']:,} declined)"),
        ("  faults", f"{sum(n for name, n in met.items() if not name.startswith('attempt')):,}"),
        *((f"    {name}", f"{n:,}") for name, n in met.most_common() if not name.startswith("attempt")),
        ("kill -9", f"{toll.kills:,} ({toll.by_victim})"),
        ("  time", f"{toll.seconds:,.0f} s"),
        ("  attempts to pay", f"{toll.attempts:,} ({toll.approved:,} approved, {toll.offline:,} offline)"),
        ("  refunds", f"{toll.refunds.total():,} ({toll.refunds['approved']:,} approved)"),
        *((name, f"{found['by_kind'][kind]:,}") for kind, name in ZEROS.items()),
    ]  # fmt: skip
    lines = [f"{name:<50} {value}" for name, value in rows]
    lines += [_of_violation(violation) for violation in schedules.violations[:20]]
    lines += [what for _, what in toll.violations[:20]]
    return "\n".join(lines)


def _line(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
    elif text:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
