"""The gallery of a data folder, in memory and on disk, in step with what others do to it.

Another process may enrol and forget at any moment, and a sync may write from a thread of its own: whoever is
forgotten on the disk is found by no search after that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final

from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import PaymentRequest, parse
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.ports import KeyPort
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.template import PayerRecord

__all__ = ["GalleryKeeper"]

NEWEST: Final = 20
"""How many payments are looked at for the gallery that they were made with; one is enough, most times."""


class GalleryKeeper:
    """`gallery`, `changed`, `enrol` and `forget` are for one thread; `store` may be used from any."""

    def __init__(
        self,
        data_dir: Path,
        key: Callable[[], KeyPort],
        model_id: Callable[[], str],
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._key, self._model_id, self._warn = data_dir / "gallery", key, model_id, warn
        self._gallery: Gallery | None = None

    @cached_property
    def store(self) -> GalleryStore:
        """The gallery on disk."""
        return GalleryStore(self._folder, self._key())

    @property
    def gallery(self) -> Gallery:
        """Who is enrolled. A gallery of another embedding network is refused: its cosines mean nothing."""
        if self._gallery is None:
            stamp = self.store.stamp()
            loaded = self.store.load()
            if loaded.warning:
                self._warn(loaded.warning)
            if loaded.gallery.model_id not in (None, self._model_id()):
                raise OperatorError(
                    f"templates of {loaded.gallery.model_id}, this release has {self._model_id()}",
                    where=str(self._folder),
                    do="Enrol everybody again.",
                )
            self._gallery = loaded.gallery
            self.store.in_step(stamp)
        return self._gallery

    def changed(self) -> Gallery | None:
        """Follow what other processes did; another gallery where it had to be loaded anew, else None.

        OperatorError, at every call, while what is there now can't be believed.
        """
        if not self.store.changed_elsewhere():
            return None
        if self._gallery is not None and self.store.catch_up(self._gallery):
            return None
        self._gallery = None
        return self.gallery

    def take(self, gallery: Gallery) -> bool:
        """What a sync has loaded is the gallery from here on, whose people are on the disk already.

        False when somebody came or went since it was loaded: then it is overwritten, and `changed` gives what
        is there now.
        """
        status = self.store.status()
        if status is None or status.version != gallery.version:
            gallery.wipe()
            self.store.fall_behind()
            return False
        self._gallery = gallery
        return True

    def enrol(self, record: PayerRecord) -> None:
        """Add a payer, or put them in the place of the one with the same token. `record` is overwritten."""
        with self.store.alone():
            self.changed()
            self.store.enrol(self.gallery, record)
        record.wipe()

    def forget(self, token: str) -> bool:
        """Delete a payer from memory and disk; False when nobody has that token."""
        with self.store.alone():
            self.changed()
            return self.store.forget(self.gallery, token)

    def forget_all(self, tokens: frozenset[str]) -> frozenset[str]:
        """The same for many, each file written once; those who were there."""
        with self.store.alone():
            self.changed()
            for token in tokens:
                self.gallery.forget(token)
            return self.store.delete(tokens)

    def check_follows(self, journal: Journal) -> None:
        """OperatorError when payments were made with a newer gallery: this one and its mark were put back."""
        status = self.store.status()
        paid = _newest_paid_with(journal, status.since_s) if status else 0
        if status and status.version < paid:
            raise OperatorError(
                f"the gallery is older than the payments (version {status.version}, they had {paid})",
                where=str(self._folder),
                do="Put back the newest gallery with its mark; or move gallery and gallery.mark away "
                "to start with nobody enrolled.",
            )


def _newest_paid_with(journal: Journal, since_s: float) -> int:
    """The version of the gallery that the newest payment since then was made with; 0 where none tells."""
    for payment in journal.payments(NEWEST):
        frozen = journal.exchange(payment.ref, "payment") if payment.at >= since_s else None
        if frozen is None or frozen.body is None:
            continue
        try:
            return parse(frozen.body, PaymentRequest).evidence.gallery_version
        except ProtocolError:  # of another release
            continue
    return 0
