"""Whether the gallery is still in step with the acquirer's, as far as this process and the disk know."""

from __future__ import annotations

from collections.abc import Callable

from kiosk.domain.freshness import is_stale
from kiosk.domain.ports import Clock

__all__ = ["Freshness"]


class Freshness:
    """`stored`: when the gallery on the disk was last known to be the newest; any thread may ask or tell.

    While the process runs, its monotonic clock counts as well: a wall clock that is set back makes no gallery
    younger.
    """

    def __init__(self, clock: Clock, time_to_live_s: float, stored: Callable[[], float | None]) -> None:
        self._clock, self._time_to_live_s, self._stored = clock, time_to_live_s, stored
        self._heard = self._now(stored())

    def heard(self, at_s: float) -> None:
        """A word of the repository came: what is here was its newest then, seconds since 1970 (UTC)."""
        self._heard = self._now(at_s)

    def is_stale(self) -> bool:
        """Whether nobody may pay by face; another process may have synced meanwhile."""
        if not self._is_stale():
            return False
        stored = self._stored()
        if stored is not None and stored > (self._heard[0] or 0.0):
            self._heard = self._now(stored)
        return self._is_stale()

    def _is_stale(self) -> bool:
        fresh_at_s, utc_s, monotonic_ms = self._heard
        passed_s = (self._clock.monotonic_ms() - monotonic_ms) / 1000
        return is_stale(fresh_at_s, max(self._clock.utc_s(), utc_s + passed_s), self._time_to_live_s)

    def _now(self, fresh_at_s: float | None) -> tuple[float | None, float, int]:
        """A time with what both clocks showed when it was learnt."""
        return fresh_at_s, self._clock.utc_s(), self._clock.monotonic_ms()
