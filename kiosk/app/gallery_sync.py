"""The gallery kept in step with the acquirer's while payments go on: a thread that polls, and its parts.

Deletions go to the kernel's thread before anything else is done; a whole new gallery is loaded here and only
put in place there. What is refused changes nothing, is told once, and is tried again at the next poll.
"""

from __future__ import annotations

import queue
import random
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from kiosk.acquirer.gallery_keys import OneTimeKey
from kiosk.acquirer.messages import new_ref
from kiosk.acquirer.operations import Envelope, GalleryKeysAnswer, gallery_keys_request
from kiosk.acquirer.tls import Tls, TlsTrust
from kiosk.app.asking import ask, envelope
from kiosk.app.consent_sync import TextsFollower
from kiosk.app.freshness import Freshness
from kiosk.app.people import EnrolledPeople
from kiosk.app.wiring import Base, Kiosk
from kiosk.domain.errors import KioskError, OperatorError
from kiosk.files import is_there
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.fetch import Fetcher, HttpTransport, Transport
from kiosk.gallery.follow import Follower, Round
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.neighbours import closeness
from kiosk.gallery.sync import Cause, Repository, SyncRefused

__all__ = ["GallerySync", "note", "open_follower", "open_sync", "pinned_root"]

ROOT_PLACES: Final = ("root.json", "sandbox/root.json")
"""Where the repository's root is looked for in the data folder; the second is a sandbox's own."""
MAX_ROOT_BYTES: Final = 512_000
FOLDER: Final = "repository"
JITTER: Final = 0.1
"""Kiosks that start together don't ask together for ever."""
ENVELOPE_S: Final = 10.0


class GallerySync:
    """One thread; `post` is the kernel's. `close` leaves a download behind: it holds nothing that lasts."""

    def __init__(
        self,
        follower: Follower,
        people: EnrolledPeople,
        take: Callable[[Gallery], None],
        post: Callable[[Callable[[], None]], None],
        freshness: Freshness,
        *,
        poll_s: float,
        warn: Callable[[str], None],
        note: Callable[[Round], None],
    ) -> None:
        self._follower, self._people, self._take, self._post = follower, people, take, post
        self._freshness, self._poll_s, self._warn, self._note = freshness, poll_s, warn, note
        self.problem = ""
        """Why the last round failed; empty: it did not."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gallery-sync", daemon=True)
        follower.on_deletions = self._delete

    def start(self) -> None:
        """Begin; the first round comes at once."""
        self._thread.start()

    def close(self, timeout_s: float = 0.5) -> None:
        """Ask the thread to end."""
        self._over.set()
        self._thread.join(timeout_s)

    def once(self) -> float:
        """One round, and how many seconds to wait for the next."""
        try:
            done = self._follower.round(self._poll_s)
        except KioskError as error:
            if str(error) != self.problem:
                self._warn(f"the gallery is not in step with the acquirer's: {error}")
            self.problem = str(error)
            return self._poll_s
        self.problem = ""
        self._freshness.heard(done.at_s)
        if done.gallery is not None:
            self._hand_over(done.gallery)
        if done.deleted or done.fetched or done.gallery is not None:
            self._note(done)
        return self._poll_s if done.whole else 0.0

    def _run(self) -> None:
        wait_s = 0.0
        while not self._over.wait(wait_s):
            wait_s = self.once() * random.uniform(1 - JITTER, 1)  # noqa: S311 - no secret

    def _delete(self, tokens: Collection[str]) -> None:
        def forget() -> None:
            for token in tokens:
                self._people.gallery.forget(token)

        self._post(forget)

    def _hand_over(self, gallery: Gallery) -> None:
        self._post(lambda: self._take(gallery))


def open_sync(kiosk: Kiosk) -> GallerySync | None:
    """The worker for a kiosk that runs; None where no repository is pinned."""
    base = kiosk.base
    if pinned_root(base) is None:
        return None
    people = kiosk.people
    follower = open_follower(base, lambda: _from_kernel(kiosk))
    follower.audited(people.gallery)

    def take(gallery: Gallery) -> None:
        if base.enrolled.take(gallery):
            people.take(gallery)

    return GallerySync(
        follower,
        people,
        take,
        kiosk.kernel.post,
        base.freshness,
        poll_s=base.config.gallery.poll_s,
        warn=base.warn,
        note=lambda done: note(base, done),
    )


def _from_kernel(kiosk: Kiosk) -> Envelope:
    """Where this kiosk's next request stands; the journal is the kernel's, so it is asked there.

    queue.Empty: the kernel is busy. OperatorError: the journal says no.
    """
    told: queue.SimpleQueue[Envelope | OperatorError] = queue.SimpleQueue()

    def look() -> None:
        try:
            told.put(envelope(kiosk.journal, kiosk.clock, ZoneInfo(kiosk.base.config.store.timezone)))
        except OperatorError as error:
            told.put(error)

    kiosk.kernel.post(look)
    found = told.get(timeout=ENVELOPE_S)
    if isinstance(found, OperatorError):
        raise found
    return found


def note(base: Base, done: Round) -> None:
    """A round that changed something, in the audit trail."""
    base.note(
        "sync",
        version=done.gallery.version if done.gallery else None,
        people=done.gallery.size if done.gallery else None,
        deleted=len(done.deleted),
        segments=done.fetched,
    )


def open_follower(
    base: Base, envelope_now: Callable[[], Envelope], transport: Transport | None = None
) -> Follower:
    """What follows the repository that is pinned here. OperatorError: none is, or its address is none."""
    root = pinned_root(base)
    if root is None:
        raise OperatorError(
            "no repository is pinned here, so nothing is synced",
            where=str(base.data_dir / ROOT_PLACES[0]),
            do="Put the root.json that your acquirer gave you there.",
        )
    folder = base.data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    url = base.config.gallery.repository_url or base.trust.base_url.rstrip("/") + "/repo/"
    line = transport or HttpTransport(url, _secure(base, url))
    thresholds = base.setting(None).thresholds
    follower = Follower(
        base.enrolled.store,
        folder,
        lambda fetcher: Repository(url, root, folder, fetcher),
        Fetcher(line, base.clock, folder),
        base.clock,
        ask=lambda: _epochs(base, envelope_now),
        model_id=base.embedding_id(),
        close_from=lambda people: closeness(thresholds, people),
        withdrawn=base.withdrawals.tokens,
    )
    follower.on_whole = TextsFollower(base.data_dir / "consent", base.warn).follow
    return follower


def pinned_root(base: Base) -> bytes | None:
    """The repository's root as it was handed over; None: no repository belongs to this kiosk.

    Production believes no sandbox's. OperatorError: the file can't be read.
    """
    named = base.config.gallery.root_file
    places = [Path(named)] if named else [base.data_dir / place for place in ROOT_PLACES]
    if base.config.mode == "production" and not named:
        places = places[:1]
    path = next((place for place in places if named or is_there(place)), None)
    if path is None:
        return None
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise OperatorError(
            f"the repository's root can't be read ({error.strerror})",
            where=str(path),
            do="Put the root.json that your acquirer gave you there.",
        ) from None
    if len(raw) > MAX_ROOT_BYTES:
        raise OperatorError("larger than any root", where=str(path), do="Put the acquirer's root.json there.")
    return raw


def _secure(base: Base, url: str) -> Callable[[socket.socket, str], ssl.SSLSocket] | None:
    """TLS as with the acquirer where it serves the files itself; elsewhere as with any public server."""
    where, acquirer = urlsplit(url), urlsplit(base.trust.base_url)
    if where.scheme != "https":
        return None
    own = acquirer.scheme == "https" and where.hostname == acquirer.hostname
    if own and (where.port or 443) == (acquirer.port or 443):
        return base.secure
    return Tls(TlsTrust()).wrap


def _epochs(base: Base, envelope_now: Callable[[], Envelope]) -> Sequence[Epoch]:
    """The epochs whose secrets the acquirer gives this kiosk now. SyncRefused: it gives none."""
    key = OneTimeKey()
    try:
        request = gallery_keys_request(
            base.terminal(), new_ref(base.clock), recipient=key.public_der, **envelope_now()
        )
        answer, why = ask(base.client(), request, GalleryKeysAnswer)
        if answer is None:
            raise SyncRefused(Cause.NO_KEY, why)
        epochs = [Epoch(one.region, one.number, one.secret) for one in key.open(answer)]
    except SyncRefused:
        raise
    except (KioskError, ValueError, queue.Empty) as error:
        raise SyncRefused(Cause.NO_KEY, str(error) or "the kiosk is busy") from None
    if [epoch.id for epoch in epochs] != [one.id for one in answer.epochs]:
        raise SyncRefused(Cause.NO_KEY, "a secret is not that of the epoch it is said to be")
    return epochs
