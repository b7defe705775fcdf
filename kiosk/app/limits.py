"""The merchant's setting: what kiosk.toml says, and under it what staff set while the kiosk runs.

`limits.json` in the data folder holds the second; `kiosk limits set` writes it, a running kiosk follows with
the next payment. Nothing here can raise what the acquirer signed: a value above it is refused when it is set,
and would have no effect if it were there. Every change is in the audit trail before it is made.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import msgspec

from kiosk.app.audit import Audit
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits, effective
from kiosk.domain.money import Money
from kiosk.files import write_whole

__all__ = ["LIMITS_NAME", "MerchantLimits", "cap_said"]

LIMITS_NAME: Final = "limits.json"


def cap_said(kind: str, value: int | str | None, currency: str) -> str:
    """A cap for people: an amount, a number of payments, or "none"."""
    if not isinstance(value, int):
        return "none"
    return str(value) if kind.endswith("_count") else str(Money(value, currency))


class MerchantLimits:
    """The merchant's caps of one data folder, in `currency`; `configured` are those of kiosk.toml."""

    def __init__(self, folder: Path, configured: Limits, currency: str, audit: Audit) -> None:
        self._path, self._audit = folder / LIMITS_NAME, audit
        self._configured, self._currency = configured, currency

    def in_force(self) -> Limits:
        """The merchant's layer as it is now. OperatorError while limits.json can't be believed."""
        return effective(self._configured, self._set())

    def change(self, kind: str, value: int | None, *, ceiling: Limits, at_s: float, staff: str) -> None:
        """Set the cap `kind` (a field of `Limits`; minor units, or payments) to `value`; None lifts it.

        Raises:
            OperatorError: above the acquirer's `ceiling` or what kiosk.toml says, not a number that a cap can
                be, or the disk refuses it; nothing was changed then.
        """
        set_before = self._set()
        for layer, whose in ((ceiling, "the acquirer's ceiling"), (self._configured, "kiosk.toml")):
            cap = getattr(layer, kind)
            if value is not None and cap is not None and value > cap:
                told, most = (cap_said(kind, one, self._currency) for one in (value, cap))
                raise OperatorError(
                    f"{kind} {told} is above {whose}, {most}", do=f"Set {most} or less; nothing was changed."
                )
        try:
            changed = replace(set_before, **{kind: value})
        except ValueError as error:
            raise OperatorError(f"{error}; nothing was changed") from None
        before = getattr(set_before, kind)
        self._audit.note("limit", at_s=at_s, staff=staff, kind=kind, before=before, after=value)
        named = {name: cap for name, cap in asdict(changed).items() if cap is not None}
        try:
            write_whole(self._path, msgspec.json.format(msgspec.json.encode(named)) + b"\n")
        except OSError as error:
            raise OperatorError(
                f"can't be written ({error.strerror}); nothing was changed", where=str(self._path)
            ) from None

    def _set(self) -> Limits:
        try:
            named = msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
            return Limits(**named)
        except FileNotFoundError:
            return Limits()
        except (OSError, msgspec.MsgspecError, UnicodeError, ValueError, TypeError) as error:
            raise OperatorError(
                f"can't be used: {error}",
                where=str(self._path),
                do="Remove it and set the limits again (`kiosk limits set`); until then nobody pays by face.",
            ) from None
