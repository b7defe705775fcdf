"""A flash on the screen: announced, never faster than is safe, and only what was really seen goes on."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind
from kiosk.domain.payment import NOTICE_MS
from kiosk.ui.flash import LEAST_STEP_MS, FlashShow
from kiosk.ui.view import Flash


def challenge(step_ms: int, colours: int = 4) -> Challenge:
    return Challenge(ChallengeKind.FLASH, FLASH_COLOURS[:colours], step_ms)


def test_it_is_announced_for_three_seconds_before_the_first_colour() -> None:
    show = FlashShow(challenge(400), 1_000)
    seconds = []
    for now in range(1_000, 1_000 + NOTICE_MS, 500):
        show.tick(now)
        assert show.flash.index is None
        seconds.append(show.flash.seconds)
    assert seconds == [3, 3, 2, 2, 1, 1]
    show.tick(1_000 + NOTICE_MS)
    assert show.flash == Flash(index=0)


def test_a_colour_that_never_came_onto_the_glass_is_not_followed_by_another() -> None:
    show = FlashShow(challenge(400), 0)
    for now in range(0, 60_000, 10):
        show.tick(now)
    assert show.flash == Flash(index=0)


def test_what_is_seen_late_stays_for_its_whole_step() -> None:
    show = FlashShow(challenge(400), 0)
    show.tick(NOTICE_MS)
    show.seen(1, NOTICE_MS)  # of another colour
    show.seen(0, NOTICE_MS + 250)
    show.tick(NOTICE_MS + 649)
    assert show.flash == Flash(index=0)
    show.tick(NOTICE_MS + 650)
    assert show.flash == Flash(index=1)


def test_after_the_last_colour_it_is_over_and_stays_so() -> None:
    show = FlashShow(challenge(400, colours=2), 0)
    now = NOTICE_MS
    for index in range(2):
        show.tick(now)
        show.seen(index, now)
        now += 400
    show.tick(now)
    assert show.flash == Flash(over=True)
    show.tick(now + 10_000)
    assert show.flash == Flash(over=True)


def test_what_was_interrupted_does_not_go_on() -> None:
    show = FlashShow(challenge(400), 0)
    show.tick(NOTICE_MS)
    show.end()
    show.seen(0, NOTICE_MS)
    show.tick(NOTICE_MS + 10_000)
    assert show.flash == Flash(over=True)


@given(
    step=st.integers(1, 1_000),
    delays=st.lists(st.integers(0, 90), min_size=20, max_size=20),
    ticks=st.lists(st.integers(1, 120), min_size=50, max_size=200),
)
def test_there_are_never_more_than_three_changes_a_second_whatever_was_drawn(
    step: int, delays: list[int], ticks: list[int]
) -> None:
    show, now, seen = FlashShow(challenge(step, 5), 0), NOTICE_MS, []
    for tick, delay in zip(ticks, delays * 10, strict=False):
        before = show.flash
        show.tick(now)
        if show.flash != before and show.flash.index is not None:
            seen.append(now + delay)
            show.seen(show.flash.index, now + delay)
        now += delay + tick
    assert all(later - earlier >= max(step, LEAST_STEP_MS) for earlier, later in pairwise(seen))
