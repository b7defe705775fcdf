"""A PIN shows itself nowhere, and is gone when it is wiped."""

from __future__ import annotations

import pytest

from kiosk.domain.pin import Keypad, Pin, PinTyped


def test_a_pin_shows_itself_in_no_representation():
    pin = Pin("90817263")
    for shown in (repr(pin), str(pin), f"{pin}", repr(PinTyped(pin)), repr([pin])):
        assert "90817263" not in shown
    assert pin.reveal() == b"90817263"


def test_a_wiped_pin_is_gone():
    pin = Pin("1234")
    digits = pin._digits
    pin.wipe()
    pin.wipe()
    assert (pin.reveal(), digits) == (b"", bytearray())


@pytest.mark.parametrize("digits", ["", "123", "1" * 13, "12a4", "１２３４", "12 34", "-123"])
def test_what_is_no_pin_is_refused_without_repeating_it(digits):
    with pytest.raises(ValueError, match="4 to 12 digits") as refused:
        Pin(digits)
    assert len(digits) < 4 or digits not in str(refused.value)


@pytest.mark.parametrize("digits", ["0000", "123456789012"])
def test_four_to_twelve_digits_are_one(digits):
    assert Pin(digits).reveal() == digits.encode()


def test_a_keypad_gives_its_digits_once_and_shows_how_many_only():
    keypad = Keypad()
    for key in ("9", "x", "", "12", "٣", "0", "8", "1", "1"):
        keypad.key(key)
    keypad.erase()
    assert (len(keypad), repr(keypad)) == (4, "Keypad(4 digits)")
    pin = keypad.take()
    assert pin is not None
    assert pin.reveal() == b"9081"
    assert (len(keypad), keypad.take()) == (0, None)
    keypad.erase()
    for _ in range(20):
        keypad.key("7")
    assert len(keypad) == 12
    keypad.wipe()
    assert len(keypad) == 0
