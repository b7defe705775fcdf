"""Withdrawals of consent that the acquirer has not confirmed yet: a few tokens in a file, until it has.

`withdrawals.json` in the data folder. Any process may add one while another takes payments: they take turns,
and each reads what the others left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from kiosk.domain.errors import OperatorError
from kiosk.files import alone, write_whole

__all__ = ["WITHDRAWALS_NAME", "Withdrawals"]

WITHDRAWALS_NAME: Final = "withdrawals.json"


class WithdrawalsDamaged(OperatorError):  # noqa: N818 - read as a sentence: the withdrawals are damaged
    """The file holds no list of tokens."""


class Withdrawals:
    """The file in `folder`. OperatorError from everything: it can't be read, believed or written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / WITHDRAWALS_NAME

    def tokens(self) -> list[str]:
        """Who waits to be withdrawn at the acquirer, oldest first."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[str])
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._refused(error) from None
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise WithdrawalsDamaged(
                f"damaged ({error})",
                where=str(self._path),
                do="Withdraw again: `kiosk forget --payer TOKEN`.",
            ) from None

    def add(self, token: str) -> None:
        """On the disk when this returns; the same one again changes nothing. A damaged file makes way."""
        with self._turn():
            try:
                waiting = self.tokens()
            except WithdrawalsDamaged:  # it is kept for whoever looks into it, and holds up nobody
                self._path.replace(self._path.with_suffix(".damaged"))
                waiting = []
            if token not in waiting:
                self._write([*waiting, token])

    def done(self, token: str) -> None:
        """The acquirer confirmed it."""
        with self._turn():
            waiting = self.tokens()
            if token in waiting:
                self._write([one for one in waiting if one != token])

    def _write(self, tokens: list[str]) -> None:
        write_whole(self._path, msgspec.json.encode(tokens))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        try:
            with alone(self._path.with_suffix(".lock")):
                yield
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> OperatorError:
        return OperatorError(
            f"can't be used ({error.strerror})",
            where=str(self._path),
            do="Free the disk, or run as its owner.",
        )
