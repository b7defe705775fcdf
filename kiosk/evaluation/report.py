"""A report of an evaluation for people who must rely on it: report.md and its pictures in one folder.

What all reports share: what they say of the run, tables with intervals, the worst cases. Faces are shown only
when asked for: the folder then holds personal data. The reports themselves are in `report_*`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kiosk import __version__
from kiosk.domain.errors import OperatorError
from kiosk.evaluation import plots
from kiosk.evaluation.metrics import over_people, wilson
from kiosk.evaluation.tables import Table, read_picture
from kiosk.vision.models import Manifest, ModelCard, Role
from kiosk.vision.runtime import runtime_name

__all__ = [
    "FACES_WARNING",
    "Context",
    "head",
    "most",
    "per_cent",
    "pictures",
    "prepare",
    "rate_of",
    "row",
    "span",
    "worst",
    "write",
]

FACES_WARNING = (
    "This folder holds pictures of people: it is personal data, and is to be kept and deleted as such."
)
WORST = 12
THUMBNAIL_PX = 128


@dataclass(frozen=True, slots=True)
class Context:
    """What a report says of the run: the `command` as typed, the models, and whether faces are shown."""

    folder: Path
    command: str
    models: Manifest
    faces: bool = False


def prepare(folder: Path) -> None:
    """Makes the folder, before anything is measured; OperatorError where it or a picture can't be."""
    plots.check()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"cannot hold a report ({error.strerror})", where=str(folder), do="Name a folder with --report."
        ) from error


def head(title: str, table: Table, context: Context, roles: Sequence[Role]) -> list[str]:
    """What was measured with what, and when: enough to do it again and to see that it is the same."""
    digest = hashlib.sha256(table.path.read_bytes()).hexdigest()
    cards = [card for role in roles if (card := context.models.find(role)) is not None]
    lines = [
        f"# {title}",
        "",
        *([f"**{FACES_WARNING}**", ""] if context.faces else []),
        f"- Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- Command: `{context.command}`",
        f"- Software: facepay-kiosk {__version__}, {runtime_name()}",
        f"- Table: {table.path.name}, {len(table.rows)} rows, SHA-256 `{digest}`",
        "",
        row("network", "role", "file's SHA-256", "terms"),
        row(*["---"] * 4),
        *(row(c.id, c.role, f"`{c.sha256}`", f"{c.licence}; commercial: {c.commercial}") for c in cards),
        "",
    ]
    return [*lines, *_thresholds(cards)]


def _thresholds(cards: Iterable[ModelCard]) -> list[str]:
    lines = [row("threshold", "value", "set by"), row(*["---"] * 3)]
    for card in cards:
        lines += [row(name, f"{t.value:g}", t.set_by) for name, t in card.thresholds.items()]
    return [*lines, "", "Nothing was tuned here: an evaluation reads thresholds and sets none.", ""]


def pictures(*named: tuple[str, str]) -> list[str]:
    return [line for name, what in named for line in (f"![{what}]({name})", "")]


def worst(
    table: Table,
    context: Context,
    kinds: dict[str, list[Any]],
    describe: Callable[[Any], str],
) -> list[str]:
    """The rows that went wrong most, by the number of the table's row; thumbnails where faces are shown."""
    lines = ["## Worst cases", "", "Numbers are rows of the table, the first below its heading is 1.", ""]
    for kind, cases in kinds.items():
        lines += [f"**{kind}**", ""]
        if not cases:
            lines += ["None.", ""]
        for case in cases:
            picture = ""
            if context.faces:
                name = _thumbnail(table.picture(table.rows[case.row - 1]["path"]), context.folder, case.row)
                picture = f"![row {case.row}]({name}) "
            lines.append(f"- {picture}row {case.row}: {describe(case)}")
        lines.append("")
    return lines


def _thumbnail(picture: Path, folder: Path, row: int) -> str:
    """Writes the picture of a row, small; its name in the folder."""
    import cv2

    rgb = read_picture(picture).rgb()
    scale = THUMBNAIL_PX / max(rgb.shape[:2])
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    (folder / "faces").mkdir(exist_ok=True)
    name = f"faces/row-{row}.png"
    cv2.imwrite(str(folder / name), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return name


def write(folder: Path, lines: Iterable[str]) -> Path:
    path = folder / "report.md"
    path.write_text("\n".join(lines).rstrip("\n") + "\n", "utf-8")
    return path


def rate_of(
    some: Sequence[Any], event: Callable[[Any], bool]
) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """How often something happened, and its intervals by presentations and over people."""
    happened = [event(one) for one in some]
    people = [getattr(one, "subject", None) or one.identity for one in some]
    rate = sum(happened) / len(happened) if happened else float("nan")
    return rate, wilson(sum(happened), len(happened)), over_people(happened, people)


def most(cases: Iterable[Any], key: Callable[[Any], float]) -> list[Any]:
    return sorted(cases, key=key)[:WORST]


def row(*cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def per_cent(rate: float | None) -> str:
    return "-" if rate is None or not np.isfinite(rate) else f"{100 * rate:.2f} %"


def span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %"
