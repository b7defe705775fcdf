"""Which colour of a flash is on the screen: announced first, and never changed faster than is safe.

Pure: times go in, `Flash` comes out. A colour stays until it has been on the glass for its whole step, so
that a screen that lags shows fewer colours, not shorter ones; what was interrupted does not go on.
"""

from __future__ import annotations

from typing import Final

from kiosk.domain.challenge import Challenge
from kiosk.domain.payment import NOTICE_MS
from kiosk.ui.view import Flash

__all__ = ["LEAST_STEP_MS", "FlashShow"]

LEAST_STEP_MS: Final = 334
"""WCAG 2.2, 2.3.1: at most three flashes a second. A flash is a pair of changes; here there are at most three
changes a second, whatever was drawn."""


class FlashShow:
    """One flash, from its announcement to its last colour. Times are the bridge's clock, ms."""

    def __init__(self, challenge: Challenge, now: int) -> None:
        self.challenge = challenge
        self._begins = now + NOTICE_MS
        self._step = max(challenge.step_ms, LEAST_STEP_MS)
        self._seen: int | None = None
        self.flash = Flash(seconds=_seconds(NOTICE_MS))

    def tick(self, now: int) -> None:
        """Go on as far as the time allows: by one colour at most."""
        flash = self.flash
        if flash.over:
            return
        if flash.index is None:
            left = self._begins - now
            self.flash = Flash(seconds=_seconds(left)) if left > 0 else Flash(index=0)
        elif self._seen is not None and now - self._seen >= self._step:
            following, self._seen = flash.index + 1, None
            more = following < len(self.challenge.colours)
            self.flash = Flash(index=following) if more else Flash(over=True)

    def seen(self, index: int, now: int) -> None:
        """Colour `index` came onto the glass; its step begins."""
        if index == self.flash.index and self._seen is None:
            self._seen = now

    def end(self) -> None:
        """No further colour: another page is on the screen."""
        self.flash = Flash(over=True)


def _seconds(left_ms: int) -> int:
    return -(-left_ms // 1000)
