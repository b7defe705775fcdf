"""The consent texts on the disk: `<folder>/<version>/<language>.json`, read strictly and never changed.

Several folders are looked through in order (what the acquirer published, then what ships). A version counts
only where it is there, whole, in every language: nobody is shown another text than their neighbour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from kiosk.domain.consent import LANGUAGES, ConsentText, Section, version_number
from kiosk.domain.errors import OperatorError

__all__ = ["MAX_BYTES", "ConsentTexts", "parse_text"]

MAX_BYTES: Final = 64 * 1024


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    heading: str
    body: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    language: str
    title: str
    summary: str
    sections: tuple[_Section, ...]
    agree: str
    decline: str
    of_age: str
    under_age: str
    guardian: str
    staff: str


def parse_text(raw: bytes) -> ConsentText:
    """The text of a file's bytes. ValueError for what is no whole text."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"a text has at most {MAX_BYTES} bytes")
    try:
        found = msgspec.json.decode(raw, type=_File)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    sections = tuple(Section(one.name, one.heading, one.body) for one in found.sections)
    fields = {name: getattr(found, name) for name in _File.__struct_fields__ if name != "sections"}
    return ConsentText(sections=sections, sha256=hashlib.sha256(raw).hexdigest(), **fields)


class ConsentTexts:
    """The texts in `folders`; where two have the same version, the first folder's counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    def versions(self) -> list[str]:
        """Every version that is there in all languages, newest first. OperatorError: see `find`."""
        there: set[str] = set()
        for folder in self._folders:
            try:
                there |= {entry.name for entry in folder.iterdir()}
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(folder, error) from None
        return sorted(
            (version for version in there if _is_version(version) and self._is_whole(version)),
            key=version_number,
            reverse=True,
        )

    def find(self, version: str, language: str) -> ConsentText | None:
        """That text, or None where there is none. OperatorError: its file can't be read, or isn't one."""
        if language not in LANGUAGES or not _is_version(version):
            return None
        for folder in self._folders:
            path = folder / version / f"{language}.json"
            try:
                with path.open("rb") as file:
                    text = parse_text(file.read(MAX_BYTES + 1))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(path, error) from None
            except ValueError as error:
                raise OperatorError(
                    f"not a consent text: {error}", where=str(path), do="Put the published file back."
                ) from None
            if (text.version, text.language) != (version, language):
                raise OperatorError(
                    f"it says that it is {text.version}/{text.language}",
                    where=str(path),
                    do="Put the published file back.",
                )
            return text
        return None

    def newest(self, language: str) -> ConsentText:
        """What is shown today. OperatorError: no such language, or no text at all."""
        if language not in LANGUAGES:
            raise OperatorError(
                f"no consent text in {language[:20]!r}", do=f"There is {', '.join(LANGUAGES)}."
            )
        for version in self.versions():
            text = self.find(version, language)
            if text is not None:
                return text
        raise OperatorError(
            "there is no consent text in every language, and nobody enrols without one",
            where=str(self._folders[-1]),
            do="Install the release again.",
        )

    def _is_whole(self, version: str) -> bool:
        return all(self.find(version, language) is not None for language in LANGUAGES)


def _is_version(name: str) -> bool:
    try:
        version_number(name)
    except ValueError:
        return False
    return True


def _unreadable(path: Path, error: OSError) -> OperatorError:
    return OperatorError(f"cannot be read ({error.strerror})", where=str(path), do="Run as its owner.")
