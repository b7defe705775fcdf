"""What people read, one table a language: `i18n/*.toml`, read once, complete or refused.

A key that is asked for and missing is a bug and raises; the tests hold every language to the keys and the
{names} of the first. Nothing here knows a screen.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "Texts", "languages", "texts"]

FOLDER: Final = Path(__file__).parent / "i18n"


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts of one language: `code` is its BCP 47 tag, `name` its own name for itself."""

    code: str
    name: str
    mirrored: bool
    """Right to left."""
    table: Mapping[str, str]
    """`"section.key"` -> text with `{names}`."""

    def __call__(self, key: str, **values: str | int) -> str:
        """The text of `key` with its names filled in. Raises KeyError when either is missing."""
        return self.table[key].format_map(values)


@cache
def languages() -> tuple[str, ...]:
    """BCP 47 tags of all languages, in alphabetical order."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.toml")))


@cache
def texts(code: str) -> Texts:
    """The texts of language `code`. Raises KeyError when there is no such language."""
    if code not in languages():
        raise KeyError(f"no language {code!r}: there are {', '.join(languages())}")
    with (FOLDER / f"{code}.toml").open("rb") as file:
        sections = tomllib.load(file)
    table = {f"{section}.{key}": text for section, lines in sections.items() for key, text in lines.items()}
    return Texts(code, table["language.name"], table["language.direction"] == "rtl", table)
