"""The gallery as the kernel needs it: search by probe and digits, and what may be shown of a payer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Candidate
from kiosk.domain.payment import Payer
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.template import Template

__all__ = ["EnrolledPeople"]

NEIGHBOURS: Final = 2
"""The best and the next: a margin needs no more."""


class EnrolledPeople:
    """Implements `kernel.People`; belongs to the kernel's thread.

    `changed` gives the gallery anew when another process changed it: whoever was forgotten is found by no
    search after that, and their templates are overwritten here too.
    """

    def __init__(self, gallery: Gallery, changed: Callable[[], Gallery | None] = lambda: None) -> None:
        self.gallery = gallery
        self._changed = changed

    @property
    def version(self) -> int:
        return self.gallery.version

    def search(self, probe: NDArray[np.float32], digits: str | None) -> tuple[Candidate, ...]:
        """The two nearest people, or fewer; with `digits` only among those who have them."""
        self._follow()
        among = None if digits is None else self.gallery.with_digits(digits)
        if not self.gallery.size or (among is not None and not among):
            return ()
        epoch = self.gallery.epoch
        turned = probe if epoch is None else epoch.turn(probe)
        template = Template.of(turned)
        if epoch is not None:
            turned.fill(0.0)
        try:
            return self.gallery.search(template, NEIGHBOURS, among)
        finally:
            template.wipe()

    def searched(self, digits: str | None) -> int:
        """How many people such a search compares; the threshold grows with it."""
        return self.gallery.size if digits is None else len(self.gallery.with_digits(digits))

    def payer(self, token: str) -> Payer | None:
        """What the confirm page and the request need; None when the person was forgotten meanwhile."""
        record = self.gallery.payer(token)
        if record is None:
            return None
        return Payer(
            record.token,
            record.masked_name,
            record.masked_account,
            record.consent_ref,
            record.limits,
            always_second_factor=token in self.gallery.neighbours,
        )

    def take(self, gallery: Gallery) -> None:
        """Search in `gallery` from here on; the one before it, if it was another, is overwritten."""
        if gallery is not self.gallery:
            old, self.gallery = self.gallery, gallery
            old.wipe()

    def _follow(self) -> None:
        fresh = self._changed()
        if fresh is not None:
            self.take(fresh)

    def has_digits(self, token: str, digits: str) -> bool:
        """Whether this person gave these last four digits."""
        return token in self.gallery.with_digits(digits)
