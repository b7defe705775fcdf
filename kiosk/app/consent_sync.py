"""The consent texts that the acquirer publishes, in step with its repository: `<data folder>/consent/`.

Each is verified by TUF and read strictly before it takes its name: nobody is ever shown half a text. One that
is published no more is shown no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from kiosk.consent_texts import MAX_BYTES, parse_text
from kiosk.domain.consent import LANGUAGES
from kiosk.domain.errors import KioskError, OperatorError
from kiosk.files import write_whole
from kiosk.gallery.sync import Cause, Repository, SyncRefused

__all__ = ["TextsFollower"]

_PATH: Final = re.compile(rf"consent/(v[1-9][0-9]{{0,5}})/({'|'.join(LANGUAGES)})\.json", re.ASCII)
"""Others are not for this release: a language that it has no screens in."""


class TextsFollower:
    """Keeps `folder` in step: `follow` goes into `Follower.on_whole`. `warn` is told once what is wrong."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder, self._warn = folder, warn
        self.problem = ""

    def follow(self, repository: Repository) -> None:
        """Fetch what is new or changed, then drop what is gone. The gallery's round goes on either way."""
        try:
            self._follow(repository)
            self.problem = ""
        except KioskError as error:
            if str(error) != self.problem:
                self._warn(f"the consent texts are not in step with the acquirer's: {error}")
            self.problem = str(error)

    def _follow(self, repository: Repository) -> None:
        listed = {path: digest for path, digest in repository.texts().items() if _PATH.fullmatch(path)}
        try:
            for path, digest in listed.items():
                place = self._place(path)
                if not place.is_file() or sha256(place.read_bytes()).hexdigest() != digest:
                    raw = _checked(path, repository.file(path, MAX_BYTES))
                    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    write_whole(place, raw)
            wanted = {self._place(path) for path in listed}
            for there in self._folder.glob("v*/*.json"):
                if there not in wanted:
                    there.unlink()
        except OSError as error:
            raise OperatorError(
                f"can't be kept ({error.strerror})", where=str(self._folder), do="Free the disk."
            ) from None

    def _place(self, path: str) -> Path:
        return self._folder / path.removeprefix("consent/")


def _checked(path: str, raw: bytes) -> bytes:
    """SyncRefused: what stands under that path is no text, or another's."""
    try:
        text = parse_text(raw)
    except ValueError as error:
        raise SyncRefused(Cause.MALFORMED, f"{path}: {error}") from None
    if path != f"consent/{text.version}/{text.language}.json":
        raise SyncRefused(Cause.MALFORMED, f"{path}: it is {text.version}/{text.language}")
    return raw
