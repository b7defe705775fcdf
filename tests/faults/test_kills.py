"""A handful of the real kills of `make faults`: processes, sockets, files, and SIGKILL."""

from __future__ import annotations

from .kills import run_kills


def test_a_kiosk_and_an_acquirer_that_are_killed_lose_nothing_and_double_nothing() -> None:
    toll = run_kills(5, seed=5, hurry=50)
    assert toll.violations == []
    assert toll.kills >= 5
    assert toll.attempts > 0
