"""Who may approve what, and which PINs there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.errors import OperatorError
from kiosk.domain.staff import Action, Role, check_number, check_pin, locked_until, may


def test_money_goes_back_only_by_a_manager_and_a_cashier_may_close() -> None:
    assert all(may(Role.MANAGER, action) for action in Action)
    assert [action for action in Action if may(Role.CASHIER, action)] == [Action.CLOSE]


@pytest.mark.parametrize("pin", ["193750", "190375028461"])
def test_a_pin_has_six_to_twelve_digits(pin: str) -> None:
    check_pin(pin)


@pytest.mark.parametrize("pin", ["", "19375", "1903750284615", "19375a", "１９３７５０", "193750\n"])
def test_anything_else_is_no_pin_and_is_not_repeated(pin: str) -> None:
    with pytest.raises(OperatorError, match="not a PIN") as refused:
        check_pin(pin)
    assert not pin or pin not in str(refused.value)


@pytest.mark.parametrize("pin", ["111111", "123456", "987654"])
def test_a_pin_that_is_guessed_at_once_is_refused(pin: str) -> None:
    with pytest.raises(OperatorError, match="too easy"):
        check_pin(pin)


def test_staff_have_numbers() -> None:
    check_number(1)
    check_number(9999)
    for number in (0, -1, 10_000):
        with pytest.raises(OperatorError, match="staff number"):
            check_number(number)


def test_five_wrong_pins_lock_a_number_and_a_clock_set_back_opens_nothing() -> None:
    wrong = [1000.0 + at for at in range(5)]
    assert locked_until(wrong[:4], 1005) is None
    until = locked_until(wrong, 1005)
    assert until is not None
    assert until > 1200
    assert locked_until(wrong, 900) == until
    assert locked_until(wrong, until) is None


@given(st.text(max_size=20))
def test_no_text_does_anything_but_pass_or_be_refused(text: str) -> None:
    try:
        check_pin(text)
    except OperatorError:
        return
    assert text.isascii()
    assert text.isdigit()
