"""Publishes by itself while the sandbox serves: a thread with books of its own that calls never wait for.

It is woken when somebody enrols or withdraws, and looks every few seconds for what other processes changed
and for what is to be signed anew. What goes wrong is logged and tried again; what is out stays out.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

from kiosk.domain.errors import OperatorError
from kiosk.domain.ports import Clock
from kiosk.sandbox.ledger import Ledger
from kiosk.sandbox.publisher import Publisher

__all__ = ["Publishing"]

POLL_S: Final = 5.0
PAUSE_S: Final = 1.0
"""Least time between two publications, so that ten who enrol one after another are not ten segments."""
LOG: Final = logging.getLogger("uvicorn.error")


class Publishing:
    """A context: the repository is there when it begins, and what is being written is whole when it ends."""

    def __init__(self, folder: Path, ledger: Ledger, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="publishing")
        self._out: tuple[int, int] | None = None
        publisher = Publisher(folder, ledger, clock)
        publisher.create()
        self.repository = publisher.repository.folder
        """What a web server serves."""

    def __enter__(self) -> Publishing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._woken.set()
        self._thread.join()

    def wake(self) -> None:
        """Somebody came or went."""
        self._woken.set()

    def is_behind(self, epoch: int, tombstones_version: int) -> bool:
        """Whether a kiosk with these lacks something that is out."""
        return self._out is not None and (epoch, tombstones_version) < self._out

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with closing(Ledger(self._folder / "ledger.sqlite")) as ledger:
                    publisher = Publisher(self._folder, ledger, self._clock, stopping=self._ended.is_set)
                    publisher.publish()
                    self._note(publisher)
                    while self._woken_again():
                        publisher.publish_people()
                        self._note(publisher)
            except OperatorError as error:
                LOG.error("nothing could be published: %s", error)
                self._ended.wait(POLL_S)
            except Exception:  # a thread that ended would hold back every withdrawal, and nobody would see it
                LOG.exception("nothing could be published")
                self._ended.wait(POLL_S)

    def _woken_again(self) -> bool:
        """Wait until it is time to look again; False: it has ended."""
        if not self._ended.wait(PAUSE_S):
            self._woken.wait(POLL_S - PAUSE_S)
            self._woken.clear()
        return not self._ended.is_set()

    def _note(self, publisher: Publisher) -> None:
        out = publisher.published()
        self._out = (
            out.epoch if out.people else 0,
            out.tombstones_version,
        )  # of nobody there is nothing to take
