"""Who is staff here: numbers, roles and PINs (argon2id), and what every approval leaves in the audit trail.

`staff.json` in the data folder. A wrong PIN is counted before it is tried, so that no kill and no second
process gets a guess for free; five lock the number, across restarts. A PIN is hashed with a secret of this
kiosk's key: whoever takes the file alone can try none.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import Final

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from kiosk.app.audit import Audit, What
from kiosk.domain.errors import OperatorError
from kiosk.domain.lockout import LOCK_S, recounted, tries_left
from kiosk.domain.moments import moment
from kiosk.domain.ports import Clock
from kiosk.domain.staff import Action, Member, Role, check_number, check_pin, locked_until, may
from kiosk.files import alone, write_whole

__all__ = ["STAFF_NAME", "StaffStore"]

STAFF_NAME: Final = "staff.json"
PURPOSE: Final = "staff pins"
KEPT_FAILURES: Final = 32


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    role: Role
    pin: str
    """argon2id, encoded with its parameters."""
    failures: tuple[float, ...] = ()

    def member(self) -> Member:
        return Member(self.number, self.role, self.failures)


class StaffStore:
    """The staff of the kiosk whose data folder is `folder`; `secret(purpose)` is its key's `derive`.

    OperatorError from everything: staff.json can't be read, believed or written, and what each method says.
    """

    def __init__(
        self,
        folder: Path,
        secret: Callable[[str], bytes],
        clock: Clock,
        hasher: PasswordHasher | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        """`zone`: the store's, for what people read; None: this machine's."""
        self._path, self._secret, self._clock = folder / STAFF_NAME, secret, clock
        self._audit, self._zone = Audit(folder, secret), zone
        self._hasher = hasher or PasswordHasher()  # RFC 9106, second recommended option: 64 MiB, 3 passes

    def members(self) -> list[Member]:
        """Everybody, by number."""
        return [kept.member() for kept in self._read()]

    # --- approvals --------------------------------------------------------------------------------------

    def approve(self, number: int, pin: str, action: Action, /, **values: int | str | None) -> Member:
        """Whoever is `number` approves `action` with their PIN; the audit trail has it before this returns.

        `values` go into the trail: what was approved, never about whom.

        Raises:
            OperatorError: no such number, a wrong PIN (which is counted), locked, or not theirs to approve.
        """
        with self._turn():
            staff, now = self._read(), self._clock.utc_s()
            kept = _find(staff, number)
            kept = msgspec.structs.replace(kept, failures=tuple(recounted(kept.failures, now)))
            until = locked_until(kept.failures, now)
            if until is not None:
                self._write(_with(staff, kept))  # a clock that was set back far makes the lock no shorter
                raise OperatorError(
                    f"staff {number} is locked until {moment(until, self._zone)} after wrong PINs",
                    do=f"Wait, or a manager gives a new PIN (`kiosk staff pin {number} --by NUMBER`).",
                )
            counted = msgspec.structs.replace(kept, failures=(*kept.failures, now)[-KEPT_FAILURES:])
            self._write(_with(staff, counted))
            if not self._fits(kept, pin):
                self._audit.note("wrong_pin", at_s=now, staff=str(number), action=str(action))
                left = tries_left(counted.failures, now)
                raise OperatorError(
                    f"wrong PIN for staff {number}: "
                    + (
                        f"{left} more and it is locked"
                        if left
                        else f"it is locked for {LOCK_S // 60} minutes"
                    ),
                    do=f"Who forgot it gets a new one (`kiosk staff pin {number} --by NUMBER`).",
                )
            self._write(_with(staff, msgspec.structs.replace(kept, failures=())))
            if not may(kept.role, action):
                self._audit.note("not_allowed", at_s=now, staff=str(number), action=str(action))
                raise OperatorError(
                    f"{action} wants a manager; staff {number} is {kept.role}", do="Ask a manager."
                )
            self._audit.note(action, at_s=now, staff=str(number), payer="", **values)
            return kept.member()

    # --- changes ----------------------------------------------------------------------------------------

    def add(self, number: int, role: Role, pin: str, *, by: int | None = None) -> None:
        """Somebody new; `by` approved it (None: the first one, who must be a manager)."""
        check_number(number)
        check_pin(pin)
        with self._turn():
            staff = self._read()
            if any(kept.number == number for kept in staff):
                raise OperatorError(
                    f"staff {number} is there already", do="Remove them first, or change the PIN."
                )
            if not staff and role is not Role.MANAGER:
                raise OperatorError("the first of staff is a manager", do="Add one with --role manager.")
            if staff and by is None:
                raise OperatorError("a manager approves who is staff", do="Give --by and their PIN.")
            self._note("staff_added", by, number, role)
            self._write(sorted([*staff, _Kept(number, role, self._hashed(number, pin))], key=_by_number))

    def remove(self, number: int, *, by: int) -> None:
        """Gone; the last manager can't be removed."""
        with self._turn():
            staff = self._read()
            gone = _find(staff, number)
            left = [kept for kept in staff if kept is not gone]
            if not any(kept.role is Role.MANAGER for kept in left):
                raise OperatorError(f"staff {number} is the last manager", do="Add another one first.")
            self._note("staff_removed", by, number, gone.role)
            self._write(left)

    def set_pin(self, number: int, pin: str, *, by: int) -> None:
        """A new PIN for `number`, approved by a manager or with the old one; it also unlocks the number."""
        check_pin(pin)
        with self._turn():
            staff = self._read()
            kept = _find(staff, number)
            self._note("staff_pin", by, number, kept.role)
            self._write(_with(staff, _Kept(number, kept.role, self._hashed(number, pin))))

    # --- inside -----------------------------------------------------------------------------------------

    def _note(self, what: What, by: int | None, number: int, role: Role) -> None:
        self._audit.note(
            what, at_s=self._clock.utc_s(), staff=str(by or number), number=number, role=str(role)
        )

    def _hashed(self, number: int, pin: str) -> str:
        return self._hasher.hash(self._peppered(number, pin))

    def _fits(self, kept: _Kept, pin: str) -> bool:
        try:
            return self._hasher.verify(kept.pin, self._peppered(kept.number, pin))
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            raise OperatorError("damaged", where=str(self._path), do="Put the file back.") from None

    def _peppered(self, number: int, pin: str) -> bytes:
        return hmac.digest(self._secret(PURPOSE), f"{number}:{pin}".encode(), "sha256")

    def _read(self) -> list[_Kept]:
        try:
            staff = msgspec.json.decode(self._path.read_bytes(), type=list[_Kept])
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._refused(error) from None
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise OperatorError(
                f"damaged ({error})", where=str(self._path), do="Put the file back."
            ) from None
        return sorted(staff, key=_by_number)

    def _write(self, staff: list[_Kept]) -> None:
        write_whole(self._path, msgspec.json.encode(staff))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time, so that guesses made at once are counted one by one."""
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


def _by_number(kept: _Kept) -> int:
    return kept.number


def _find(staff: list[_Kept], number: int) -> _Kept:
    for kept in staff:
        if kept.number == number:
            return kept
    raise OperatorError(f"nobody is staff {number}", do="See `kiosk staff list`.")


def _with(staff: list[_Kept], changed: _Kept) -> list[_Kept]:
    return [changed if kept.number == changed.number else kept for kept in staff]
