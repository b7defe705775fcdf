"""Errors are one line: where, what, what to do; and two families that share nothing but their base."""

from __future__ import annotations

import pytest

from kiosk.domain.errors import KioskError, OperatorError, ProtocolError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperatorError("no camera"), "no camera"),
        (OperatorError("no camera", where="/dev/video0"), "/dev/video0: no camera"),
        (OperatorError("no camera", do="Plug it in."), "no camera. Plug it in."),
        (
            OperatorError("no camera", where="/dev/video0", do="Plug it in."),
            "/dev/video0: no camera. Plug it in.",
        ),
    ],
)
def test_an_operators_error_says_where_what_and_what_to_do(error: OperatorError, text: str) -> None:
    assert str(error) == text


def test_the_families_are_kept_apart() -> None:
    assert issubclass(OperatorError, KioskError)
    assert issubclass(ProtocolError, KioskError)
    assert not issubclass(OperatorError, ProtocolError)
    assert not issubclass(ProtocolError, OperatorError)
