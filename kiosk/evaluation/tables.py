"""The tables that say what to measure, and the pictures they name. Bad ones are refused with file and line.

A table is a CSV file; the paths in it are relative to its folder. Reading never guesses: a missing column, an
empty cell, a missing or unreadable picture is an OperatorError.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from kiosk.devices.camera_file import read_image
from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, PixelFormat

__all__ = ["Progress", "Row", "Table", "read_picture", "read_table"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many of how many are done."""

Row: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one CSV file and where it lies."""

    path: Path
    rows: tuple[Row, ...]

    def picture(self, name: str) -> Path:
        """Where the picture is that a row calls `name`."""
        return self.path.parent / name


def read_table(
    path: Path, columns: Iterable[str], allowed: dict[str, Collection[str]] | None = None
) -> Table:
    """The table at `path`: it has `columns`, every cell filled; `allowed` limits what a cell may say."""
    needed = tuple(columns)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise OperatorError(
                    f"has no column {', '.join(missing)}",
                    where=str(path),
                    do=f"It needs {','.join(needed)}.",
                )
            rows = tuple(_row(path, reader.line_num, row, needed, allowed or {}) for row in reader)
    except OSError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})", where=str(path), do="Name a CSV file with --manifest."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise OperatorError("is not a CSV file in UTF-8", where=str(path)) from error
    if not rows:
        raise OperatorError("has no rows", where=str(path))
    return Table(path, rows)


def _row(
    path: Path, line: int, row: dict[str, str], needed: Iterable[str], allowed: dict[str, Collection[str]]
) -> Row:
    for name in needed:
        value = row.get(name)
        if not value:
            raise OperatorError(f"column {name} is empty", where=f"{path}:{line}")
        if name in allowed and value not in allowed[name]:
            choice = ", ".join(sorted(allowed[name]))
            raise OperatorError(f"{name} is {value!r}", where=f"{path}:{line}", do=f"Allowed: {choice}.")
    return {key: value or "" for key, value in row.items() if key is not None}


def read_picture(path: Path) -> Frame:
    """The picture as a frame; OperatorError when it is missing, damaged or too large."""
    rgb = read_image(path)
    return Frame((rgb,), PixelFormat.RGB888, rgb.shape[1], rgb.shape[0], 0, 0)
