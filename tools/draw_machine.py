"""Draws the payment machine into `docs/payment-machine.md` by driving `step`, so that the picture can't lie.

From `Idle` (and from what a restart recovers) every event is tried on every state that can be reached; what
changes a state or has an effect becomes a row. `--check` only says whether the page is current (exit code 1
when it is not).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from kiosk.domain import payment as machine
from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import Accept, AskSecondFactor, Factor, Reason, Refuse
from kiosk.domain.money import Money

PAGE = Path(__file__).resolve().parent.parent / "docs" / "payment-machine.md"
BEGIN = "<!-- drawn by tools/draw_machine.py: change kiosk/domain/payment.py, then `make machine` -->"
END = "<!-- end of what is drawn -->"

ORDER = machine.Order("A-1", Money(3850, "CNY"), "Corner Shop")
PAYER = machine.Payer("token", "*ming", "**** 1234", "consent")
EVIDENCE = machine.Evidence(("face",), 1, "high", "high", "high", (), 1)
REF = "ref"
NO_LOOK = Refuse(Reason.OVER_LIMIT)
"""A refusal that another look would not change."""

EVENTS: dict[str, machine.Event] = {
    "Offer": machine.Offer(ORDER),
    "Offer, no look would help": machine.Offer(ORDER, NO_LOOK),
    "PayWithFace": machine.PayWithFace(),
    "PayAnotherWay": machine.PayAnotherWay(machine.Means.STAFF),
    "Cancel": machine.Cancel(),
    "ChallengeDrawn: turn the head": machine.ChallengeDrawn(Challenge(ChallengeKind.TURN_LEFT)),
    "ChallengeDrawn: blink": machine.ChallengeDrawn(Challenge(ChallengeKind.BLINK)),
    "Looked: Accept": machine.Looked(Accept("token", 0.8, 0.3), PAYER, EVIDENCE, REF),
    "Looked: digits needed": machine.Looked(AskSecondFactor(Factor.DIGITS)),
    "Looked: PIN needed": machine.Looked(AskSecondFactor(Factor.PIN), PAYER, EVIDENCE, REF),
    "Looked: PIN needed of nobody": machine.Looked(AskSecondFactor(Factor.PIN)),
    "Looked: not recognised": machine.Looked(Refuse(Reason.NOT_RECOGNISED)),
    "Looked: attack suspected": machine.Looked(Refuse(Reason.ATTACK_SUSPECTED)),
    "Looked: over a limit": machine.Looked(NO_LOOK),
    "DigitsTyped": machine.DigitsTyped("1234"),
    "Confirm": machine.Confirm(),
    "PinSealed": machine.PinSealed(REF, "..."),
    "PinImpossible": machine.PinImpossible(),
    "Answered: approved": machine.Answered(REF, machine.Answer(machine.Result.APPROVED)),
    "Answered: declined": machine.Answered(REF, machine.Answer(machine.Result.DECLINED)),
    "Answered: wrong PIN": machine.Answered(REF, machine.Answer(machine.Result.DECLINED, machine.WRONG_PIN)),
    "AcceptedOffline": machine.AcceptedOffline(REF, machine.Answer(machine.Result.APPROVED, "offline")),
    "Answered: pending": machine.Answered(REF, machine.Answer(machine.Result.PENDING)),
    "Answered: reversed": machine.Answered(REF, machine.Answer(machine.Result.REVERSED)),
    "NoAnswer": machine.NoAnswer(REF),
    "CouldNotSend": machine.CouldNotSend(REF),
    "ReversalAcknowledged": machine.ReversalAcknowledged(REF),
    "Done": machine.Done(),
    "Tick": machine.Tick(),
}


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One line of the table: in `source`, `event` leads to `target` and asks for `effects`."""

    source: str
    event: str
    target: str
    effects: tuple[str, ...]


def main() -> int:
    wanted = BEGIN + "\n\n" + drawing(sorted_rows()) + "\n" + END
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        print(f"{PAGE.name} lacks the two marks that the drawing stands between")
        return 1
    current = before + wanted + after
    if current == text:
        print("machine: docs/payment-machine.md is what the code does")
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/payment-machine.md is not what kiosk/domain/payment.py does: run `make machine`")
        return 1
    PAGE.write_text(current, encoding="utf-8")
    print("machine: docs/payment-machine.md drawn anew")
    return 0


# --- exploring ------------------------------------------------------------------------------------------


def explore() -> Iterator[tuple[machine.State, str, machine.State, tuple[machine.Effect, ...]]]:
    """Every step from every reachable state. Times are made relative, so that there are finitely many."""
    waiting: list[machine.State] = [
        machine.Idle(),
        machine.recovered(ORDER, REF, reversing=False, now=0),
        machine.recovered(ORDER, REF, reversing=True, now=0),
    ]
    seen: set[machine.State] = set()
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        for label, event in EVENTS.items():
            due = getattr(state, "until", 0)
            for now in (0, due) if isinstance(event, machine.Tick) else (1,):
                after, effects = machine.step(state, event, now)
                yield state, label, after, effects
                waiting.append(state if after == state else relative(after, now))


def relative(state: machine.State, now: int) -> machine.State:
    """The same state, its times counted from `now`, tries of a reversal only up to the last delay."""
    changed: dict[str, Any] = {}
    for field in fields(state):
        if field.name in ("until", "shown_until"):
            changed[field.name] = max(0, getattr(state, field.name) - now)
        if field.name == "tries" and isinstance(state, machine.Reversing):
            changed[field.name] = min(state.tries, len(machine.REVERSAL_DELAYS_MS))
    return replace(state, **changed) if changed else state


def sorted_rows() -> list[Row]:
    """Each different row once, states and events in the order in which the machine declares them."""
    rows = {}
    for state, label, after, effects in explore():
        if state != after or effects:
            shown = "Tick, when its time is up" if label == "Tick" else label
            row = Row(name(state), shown, name(after), tuple(name(effect) for effect in effects))
            rows[row] = None
    states = [kind.__name__ for kind in get_args(machine.State)]
    missing = set(states) - {row.target for row in rows}
    if missing:
        raise SystemExit(f"no event leads to {', '.join(sorted(missing))}")
    events = [*EVENTS, "Tick, when its time is up"]
    return sorted(rows, key=lambda row: (states.index(row.source), events.index(row.event), row))


def name(value: object) -> str:
    return type(value).__name__


# --- drawing --------------------------------------------------------------------------------------------


def drawing(rows: list[Row]) -> str:
    return "\n".join([*mermaid(rows), "", *table(rows)]) + "\n"


def mermaid(rows: list[Row]) -> Iterator[str]:
    """The picture: one arrow for each pair of states, without the ways back to Idle that every state has."""
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        label = row.event.replace("Tick, when its time is up", "time is up").replace(":", "")
        if row.source != row.target and label not in arrows[row.source, row.target]:
            arrows[row.source, row.target].append(label)
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> Idle"
    for (source, target), labels in arrows.items():
        if target != "Idle":
            yield f"    {source} --> {target}: {' / '.join(labels)}"
    yield "```"


def table(rows: list[Row]) -> Iterator[str]:
    yield "| in | event | becomes | and does |"
    yield "|---|---|---|---|"
    previous = ""
    for row in rows:
        source = f"**{row.source}**" if row.source != previous else ""
        target = "the same" if row.source == row.target else row.target
        yield f"| {source} | {row.event} | {target} | {', '.join(row.effects) or '-'} |"
        previous = row.source


if __name__ == "__main__":
    sys.exit(main())
