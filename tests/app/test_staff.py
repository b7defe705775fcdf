"""Staff: PINs that nobody can read or guess for free, roles, and a trail of every approval."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from kiosk.app.audit import Audit
from kiosk.app.staff import StaffStore
from kiosk.domain.errors import OperatorError
from kiosk.domain.lockout import LOCK_AFTER, LOCK_S
from kiosk.domain.staff import Action, Role

FAST = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def secret(purpose: str) -> bytes:
    return purpose.encode().ljust(32)


class Clock:
    now = 1_795_564_800.0

    def monotonic_ms(self) -> int:
        return 0

    def utc_s(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[[], StaffStore]


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Open:
    """The store anew, as after a restart."""

    def again() -> StaffStore:
        return StaffStore(tmp_path, secret, clock, FAST)

    store = again()
    store.add(7, Role.MANAGER, "193750")
    store.add(12, Role.CASHIER, "820461", by=7)
    return again


def test_the_first_is_a_manager_and_the_last_manager_stays(tmp_path: Path, clock: Clock) -> None:
    store = StaffStore(tmp_path, lambda purpose: bytes(32), clock, FAST)
    with pytest.raises(OperatorError, match="the first of staff is a manager"):
        store.add(1, Role.CASHIER, "193750")
    store.add(1, Role.MANAGER, "193750")
    with pytest.raises(OperatorError, match="a manager approves"):
        store.add(2, Role.MANAGER, "820461")
    with pytest.raises(OperatorError, match="there already"):
        store.add(1, Role.CASHIER, "820461", by=1)
    store.add(2, Role.CASHIER, "820461", by=1)
    with pytest.raises(OperatorError, match="last manager"):
        store.remove(1, by=1)
    store.remove(2, by=1)
    assert [member.number for member in store.members()] == [1]


def test_a_manager_approves_and_a_cashier_may_not(opened: Open, tmp_path: Path) -> None:
    assert opened().approve(7, "193750", Action.REFUND, minor=1000).role is Role.MANAGER
    with pytest.raises(OperatorError, match="refund wants a manager; staff 12 is cashier"):
        opened().approve(12, "820461", Action.REFUND)
    whats = [(entry.what, entry.staff) for entry in Audit(tmp_path, secret).entries()]
    assert whats == [
        ("staff_added", "7"),
        ("staff_added", "7"),
        ("refund", "7"),
        ("not_allowed", "12"),
    ]


def test_no_pin_is_in_any_file(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="wrong PIN"):
        opened().approve(7, "555123", Action.REFUND)
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert not any(pin in content for pin in (b"193750", b"820461", b"555123"))
        assert path.stat().st_mode & 0o077 == 0


def test_wrong_pins_lock_a_number_across_restarts_and_not_the_others(opened: Open, clock: Clock) -> None:
    for left in range(LOCK_AFTER - 1, -1, -1):
        told = (
            f"{left} more and it is locked"
            if left
            else "it is locked for 5 minutes. Who forgot it gets a new"
        )
        with pytest.raises(OperatorError, match=f"wrong PIN for staff 7: {told}"):
            opened().approve(7, "555123", Action.REFUND)
    with pytest.raises(
        OperatorError,
        match=r"staff 7 is locked until [-0-9]{10} [:0-9]{8} [-+:0-9]{6} after wrong PINs. Wait, or",
    ):
        opened().approve(7, "193750", Action.REFUND)
    clock.now -= 86_400  # setting the clock back opens nothing, and locks for no longer than a lock lasts
    for _ in range(2):
        with pytest.raises(OperatorError, match="locked"):
            opened().approve(7, "193750", Action.REFUND)
    clock.now += 200
    with pytest.raises(OperatorError, match="wants a manager"):
        opened().approve(12, "820461", Action.REFUND)
    clock.now += LOCK_S
    opened().approve(7, "193750", Action.REFUND)
    assert all(not member.failures for member in opened().members())


def test_a_guess_counts_before_it_is_tried(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object) -> bool:
        raise KeyboardInterrupt

    store = opened()
    monkeypatch.setattr(store, "_fits", killed)
    with pytest.raises(KeyboardInterrupt):
        store.approve(7, "555123", Action.REFUND)
    assert [len(member.failures) for member in opened().members()] == [1, 0]


def test_a_new_pin_unlocks(opened: Open) -> None:
    for _ in range(LOCK_AFTER):
        with pytest.raises(OperatorError, match="wrong PIN"):
            opened().approve(12, "555123", Action.CLOSE)
    opened().set_pin(12, "730192", by=7)
    assert opened().approve(12, "730192", Action.CLOSE).number == 12


def test_the_file_without_the_kiosk_s_key_says_yes_to_nobody(
    opened: Open, tmp_path: Path, clock: Clock
) -> None:
    opened()
    thief = StaffStore(tmp_path, lambda purpose: b"another".ljust(32), clock, FAST)
    with pytest.raises(OperatorError, match="another key"):  # its own wrong PIN can't even be noted
        thief.approve(7, "193750", Action.REFUND)


@pytest.mark.parametrize("content", [b"{", b"[]x", b'[{"number":7,"role":"owner","pin":""}]', b"\xff"])
def test_a_damaged_file_is_refused(opened: Open, tmp_path: Path, content: bytes) -> None:
    store = opened()
    (tmp_path / "staff.json").write_bytes(content)
    with pytest.raises(OperatorError, match=r"staff\.json: damaged"):
        store.members()


def test_a_hash_that_is_none_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "staff.json").write_bytes(b'[{"number":7,"role":"manager","pin":"x"}]')
    store = StaffStore(tmp_path, lambda purpose: bytes(32), clock, FAST)
    with pytest.raises(OperatorError, match="damaged"):
        store.approve(7, "193750", Action.REFUND)
