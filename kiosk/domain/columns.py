"""Text on lines of so many columns, as a receipt printer has them: nothing is wider, nothing is cut off.

An East Asian wide character takes two columns, a combining mark none, and it stays with its letter.
A right-to-left line is written in logical order, with the marks that make a reader show it so (UAX #9).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Columns", "clean", "isolated", "width"]

RIGHT_TO_LEFT_MARK: Final = "\u200f"
FIRST_STRONG_ISOLATE: Final = "\u2068"
POP_ISOLATE: Final = "\u2069"
NOT_FIRST: Final = frozenset("。，、；：！？）》”")
"""No Chinese line begins with one of these: its last character comes along (GB/T 15834)."""


def width(text: str) -> int:
    """Columns that `text` takes: 2 for East Asian wide and full-width characters, 0 for marks, else 1."""
    return sum(_width(character) for character in text)


def clean(text: str) -> str:
    """`text` on one line, without control characters and without marks that turn a line round."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text)


def isolated(text: str) -> str:
    """`text` as a reader keeps it together inside a right-to-left line."""
    return FIRST_STRONG_ISOLATE + text + POP_ISOLATE


@dataclass(frozen=True, slots=True)
class Columns:
    """Lays out lines of at most `number` columns (16 or more); `mirrored`: for a right-to-left language.

    Every method returns whole lines; a line has at least one character that is seen.
    """

    number: int
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.number < 16:
            raise ValueError(f"{self.number} columns: a receipt has 16 or more")

    def rule(self) -> list[str]:
        """A line across."""
        return ["-" * self.number]

    def centred(self, text: str) -> list[str]:
        """`text` in the middle, on as many lines as it takes."""
        lines = self._wrapped(clean(text), self.number)
        return [self._line(" " * ((self.number - width(line)) // 2) + line) for line in lines]

    def pair(self, label: str, value: str) -> list[str]:
        """A label and its value at the other edge; a value that does not fit there has lines of its own."""
        label, value = clean(label), clean(value)
        if width(label) + 1 + width(value) <= self.number:
            return [self._spread(label, value)]
        lines = [self._line(line) for line in self._wrapped(label, self.number)]
        return lines + [self._spread("", line) for line in self._wrapped(value, self.number)]

    def three(self, label: str, middle: str, value: str) -> list[str]:
        """A label, a short number that ends two thirds across, and a value at the other edge."""
        label, middle, value = clean(label), clean(middle), clean(value)
        edge = max(self.number * 9 // 20, width(label) + 1 + width(middle))
        if edge + 1 + width(value) > self.number:
            return self.pair(label, middle) + self.pair("", value)
        return [self._spread(label + " " * (edge - width(label) - width(middle)) + middle, value)]

    def _spread(self, label: str, value: str) -> str:
        if not value:
            return self._line(label)
        space = " " * (self.number - width(label) - width(value))
        return self._line(label + space + (isolated(value) if self.mirrored else value))

    def _line(self, text: str) -> str:
        return RIGHT_TO_LEFT_MARK + text if self.mirrored else text

    @staticmethod
    def _wrapped(text: str, columns: int) -> list[str]:
        """Lines of at most `columns`, broken at spaces and after hyphens where there are any."""
        lines, line = [], ""
        for word in re.findall(r"[^ -]*-+ *|[^ -]+ *", text):
            if line and width(line) + width(word.rstrip()) > columns:
                lines.append(line.rstrip())
                line = ""
            last = ""
            for letter in _letters(word):
                if width(line) + width(letter) > columns:
                    carried = last if letter in NOT_FIRST and line != last else ""
                    lines.append(line.removesuffix(carried).rstrip())
                    line = carried
                line += letter
                last = letter
        return [kept for kept in (*lines, line.rstrip()) if width(kept)]


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _letters(text: str) -> Iterator[str]:
    """Each character with the marks that belong on it."""
    letter = ""
    for character in text:
        if letter and _width(character):
            yield letter
            letter = ""
        letter += character
    yield letter
