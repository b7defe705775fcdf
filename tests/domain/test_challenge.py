"""What a challenge may say: colours belong to a flash, and every one ends."""

from __future__ import annotations

import pytest

from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind

WHOLE = [kind for kind in ChallengeKind if kind is not ChallengeKind.FLASH]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_turn_and_a_blink_have_no_colours(kind: ChallengeKind) -> None:
    assert Challenge(kind).colours == ()
    for wrong in ({"colours": FLASH_COLOURS[:2]}, {"step_ms": 400}):
        with pytest.raises(ValueError, match="belong to a flash"):
            Challenge(kind, **wrong)  # type: ignore[arg-type]


def test_a_flash_has_colours_and_how_long_each_is_shown() -> None:
    assert Challenge(ChallengeKind.FLASH, FLASH_COLOURS[:2], 400).colours == FLASH_COLOURS[:2]
    for wrong in ({}, {"colours": FLASH_COLOURS[:2]}, {"step_ms": 400}):
        with pytest.raises(ValueError, match="belong to a flash"):
            Challenge(ChallengeKind.FLASH, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout_ms", [0, -1])
def test_every_challenge_ends(timeout_ms: int) -> None:
    with pytest.raises(ValueError, match="a challenge ends"):
        Challenge(ChallengeKind.BLINK, timeout_ms=timeout_ms)
