"""The gallery followed while payments go on: who is told what on which thread, and when nobody may pay."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kiosk.acquirer.client import Lost, Reply, Told
from kiosk.acquirer.gallery_keys import sealed_epoch
from kiosk.acquirer.messages import Exchange, parse
from kiosk.acquirer.operations import Envelope, EpochMessage, GalleryKeysAnswer, GalleryKeysRequest
from kiosk.app.freshness import Freshness
from kiosk.app.gallery_sync import GallerySync, open_follower, open_sync, pinned_root
from kiosk.app.people import EnrolledPeople
from kiosk.app.wiring import Base, open_base, open_kiosk
from kiosk.domain.decision import Reason
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Offered, Refused
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.follow import Round
from kiosk.gallery.sync import Cause, SyncRefused
from kiosk.gallery.template import PayerRecord
from tests.app.test_kernel import Shop, unit
from tests.gallery.hosted import URL, Hosted, Line
from tests.gallery.people import people as looks_of
from tests.gallery.people import record
from tests.gallery.test_follow import Kiosk, enrolled, publish

DAY_S = 86_400.0


@dataclass
class Running:
    """A kiosk that runs: what was posted waits for the kernel's thread, which a test plays."""

    kiosk: Kiosk
    people: EnrolledPeople
    freshness: Freshness
    posted: list[Callable[[], None]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    noted: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sync = GallerySync(
            self.kiosk.follower,
            self.people,
            self.people.take,
            self.posted.append,
            self.freshness,
            poll_s=30,
            warn=self.warned.append,
            note=self.noted.append,
        )

    def kernel(self) -> None:
        while self.posted:
            self.posted.pop(0)()

    def once(self) -> float:
        self.kiosk.clock.advance(30_000)
        return self.sync.once()

    def tokens(self) -> set[str]:
        return {one.token for one in self.people.gallery.records()}


@pytest.fixture
def running(tmp_path: Path, clock: Any) -> Running:
    clock.advance(int(1000 * (time.time() - clock.utc_s())))  # python-tuf asks the machine what has expired
    hosted = Hosted()
    publish(hosted, {0: enrolled(5), 1: enrolled(4, 2, 5)})
    kiosk = Kiosk(hosted, tmp_path, clock)
    people = EnrolledPeople(kiosk.store.load().gallery)
    return Running(kiosk, people, Freshness(clock, 3 * DAY_S, lambda: None))


def test_a_new_gallery_is_taken_on_the_kernels_thread_only(running: Running) -> None:
    before = running.people.gallery

    assert running.once() == 30
    assert running.people.gallery is before
    running.kernel()

    assert len(running.tokens()) == 9
    assert running.noted[0].fetched == 2


def test_the_gallery_that_was_replaced_is_overwritten(running: Running) -> None:
    running.once()
    running.kernel()
    held = [one.references[0].template for one in running.people.gallery.records()]
    publish(running.kiosk.hosted, {1: enrolled(6, 2, 5)}, version=2)

    running.once()
    assert not any(template.wiped for template in held), "a search may be under way"
    running.kernel()

    assert len(running.tokens()) == 11
    assert all(template.wiped for template in held)


def test_whoever_withdrew_is_forgotten_on_the_kernels_thread_before_the_disk_is_touched(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.once()
    running.kernel()
    held = running.people.gallery.payer("t00003")
    assert held is not None
    running.kiosk.hosted.tombstones(2, ["t00003", "nobody-here"])
    running.kiosk.hosted.publish("tombstones")
    on_disk: list[int] = []
    delete = running.kiosk.store.delete
    monkeypatch.setattr(
        running.kiosk.store, "delete", lambda *args: (on_disk.append(len(running.posted)), delete(*args))[1]
    )

    running.once()
    assert on_disk == [1], "the kernel had it first"
    running.kernel()

    assert "t00003" not in running.tokens()
    assert held.references[0].template.wiped
    assert running.noted[-1].deleted == {"t00003"}


def test_what_is_refused_is_told_once_and_changes_nothing(running: Running) -> None:
    running.once()
    running.kernel()
    running.kiosk.line.down = True

    for _ in range(3):
        assert running.once() == 30
    assert len(running.warned) == 1
    assert "unreachable: it can't be reached" in running.warned[0]
    assert (len(running.posted), len(running.tokens())) == (0, 9)

    running.kiosk.line.down = False
    running.once()
    assert running.sync.problem == ""


def test_a_round_that_is_not_whole_goes_on_at_once(running: Running) -> None:
    running.kiosk.line.before_piece = lambda path: running.kiosk.clock.advance(
        20_000 if path.endswith(".seg") else 0
    )
    running.kiosk.line.piece = 4096

    waits = [running.once() for _ in range(6)]

    assert waits[0] == 0
    assert waits[-1] == 30
    assert [done.whole for done in running.noted] == [True]


@pytest.mark.timeout(30)
def test_the_thread_polls_until_it_is_closed(running: Running) -> None:
    came = threading.Event()
    running.posted = []
    running.sync._post = lambda work: (running.posted.append(work), came.set())[0]  # type: ignore[func-returns-value]

    running.sync.start()
    assert came.wait(20)
    running.sync.close(20)

    assert not running.sync._thread.is_alive()
    running.kernel()
    assert len(running.tokens()) == 9


# --- too old ---


def test_a_gallery_ages_by_both_clocks(clock: Any) -> None:
    freshness = Freshness(clock, DAY_S, lambda: None)
    assert not freshness.is_stale(), "it never came from an acquirer"
    freshness.heard(clock.utc_s())
    clock.advance(int(1000 * DAY_S))
    assert not freshness.is_stale()

    clock.advance(1000)
    assert freshness.is_stale()
    clock._utc_s -= DAY_S
    assert freshness.is_stale(), "a wall clock that was set back makes nothing younger"


def test_what_another_process_synced_counts(clock: Any) -> None:
    stored = [clock.utc_s()]
    freshness = Freshness(clock, DAY_S, lambda: stored[0])
    clock.advance(int(1000 * 2 * DAY_S))
    assert freshness.is_stale()

    stored[0] = clock.utc_s()
    assert not freshness.is_stale()


def test_nobody_pays_by_face_with_a_gallery_that_is_too_old(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.kernel.gallery_is_stale = lambda: True

    shop.offer()

    assert isinstance(shop.kernel.state, Offered)
    assert shop.kernel.state.refusal is not None
    assert shop.kernel.state.refusal.reason is Reason.GALLERY_STALE
    shop.journal.close()


def test_a_gallery_that_became_too_old_since_the_offer_recognises_nobody(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.offer()
    shop.kernel.gallery_is_stale = lambda: True

    shop.look(unit(1))

    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.GALLERY_STALE
    shop.journal.close()


# --- what it is made of ---

NOW: Envelope = {"sequence": 1, "batch": 1, "created_utc": 1_795_000_000.0, "previous": "0" * 64}


class Acquirer:
    """Gives the secrets of `epochs`, each under the id that `ids` says."""

    def __init__(self, *epochs: Epoch, ids: tuple[str, ...] | None = None) -> None:
        self.epochs, self.ids = epochs, ids or tuple(epoch.id for epoch in epochs)

    def send(self, exchange: Exchange) -> Reply:
        asked = parse(exchange.body or b"", GalleryKeysRequest)
        given = tuple(
            EpochMessage(
                number=epoch.number, id=said, sealed=sealed_epoch(epoch.secret, asked.ref, asked.recipient)
            )
            for epoch, said in zip(self.epochs, self.ids, strict=True)
        )
        return Told(
            GalleryKeysAnswer(
                version=1, operation="gallery_keys", ref=asked.ref, region=self.epochs[0].region, epochs=given
            )
        )


class Refusing:
    def send(self, exchange: Exchange) -> Reply:
        return Lost("refused: unknown_key", "unknown_key")


@contextmanager
def kiosk_of(folder: Path, hosted: Hosted, acquirer: Any, patch: pytest.MonkeyPatch) -> Iterator[Base]:
    folder.mkdir(exist_ok=True)
    (folder / "root.json").write_bytes(hosted.pinned)
    (folder / "kiosk.toml").write_text(f'[gallery]\nrepository_url = "{URL}/"\n')
    patch.setattr(Base, "client", lambda base: acquirer)
    patch.setattr("kiosk.app.asking.PAUSES_S", ())
    with open_base(folder, None) as base:
        yield base


NORTH = Epoch("north", 1, b"n" * 32)
KEY = base64.b64encode(
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
ACQUIRER = json.dumps(
    {"base_url": "http://127.0.0.1:9", "acquirer_keys": {"a": KEY}, "policy_keys": {"p": KEY}}
).encode()


def published(base: Base, hosted: Hosted, count: int = 4) -> None:
    people: list[PayerRecord] = []
    for token, vectors in looks_of(count).items():
        people.append(record(token, NORTH.turn(vectors), model=base.embedding_id()))
    hosted.segment(NORTH, 0, 1, people)
    hosted.publish("gallery")


def test_a_kiosk_follows_with_the_keys_that_its_acquirer_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = Hosted()
    with kiosk_of(tmp_path, hosted, Acquirer(NORTH), monkeypatch) as base:
        published(base, hosted)
        follower = open_follower(base, lambda: NOW, Line(hosted))

        done = follower.round()

        assert done.gallery is not None
        assert base.changed_gallery() is None, "its own change is no other process's"
        base.enrolled.take(done.gallery)
        assert base.gallery.size == 4
        people = EnrolledPeople(base.gallery, base.changed_gallery)
        token, vectors = next(iter(looks_of(4).items()))
        assert people.search(np.array(vectors[0]), None)[0].token == token
        assert not base.freshness.is_stale()


@pytest.mark.parametrize(
    ("acquirer", "why"),
    [
        (Refusing(), "unknown_key"),
        (Acquirer(NORTH, ids=("0" * 16,)), "not that of the epoch"),
    ],
)
def test_without_a_key_that_fits_nothing_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acquirer: Any, why: str
) -> None:
    hosted = Hosted()
    with kiosk_of(tmp_path, hosted, acquirer, monkeypatch) as base:
        published(base, hosted)
        with pytest.raises(SyncRefused, match=why) as refused:
            open_follower(base, lambda: NOW, Line(hosted)).round()
        assert refused.value.cause is Cause.NO_KEY
        assert base.gallery.size == 0


def test_without_a_root_nothing_is_synced_and_nobody_is_refused(tmp_path: Path) -> None:
    with open_base(tmp_path, None) as base:
        assert pinned_root(base) is None
        assert not base.freshness.is_stale()
        with pytest.raises(OperatorError, match="no repository is pinned"):
            open_follower(base, lambda: NOW)


def test_production_does_not_believe_a_sandboxs_root(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "root.json").write_bytes(b"{}")
    with open_base(tmp_path, None) as base:
        assert pinned_root(base) == b"{}"
    (tmp_path / "kiosk.toml").write_text('mode = "production"\n')
    with open_base(tmp_path, None) as base:
        assert pinned_root(base) is None


@pytest.mark.parametrize("content", [None, b"x" * 600_000])
def test_a_named_root_that_is_none_is_the_operators_to_mend(tmp_path: Path, content: bytes | None) -> None:
    root = tmp_path / "their-root.json"
    if content is not None:
        root.write_bytes(content)
    (tmp_path / "kiosk.toml").write_text(f'[gallery]\nroot_file = "{root}"\n')
    with open_base(tmp_path, None) as base, pytest.raises(OperatorError, match=r"their-root\.json"):
        pinned_root(base)


@pytest.mark.timeout(60)
def test_a_kiosk_that_runs_takes_who_comes_and_loses_who_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journal, kernel's thread and worker's thread as in a shop; the kernel gives the request its place."""
    hosted = Hosted()
    monkeypatch.setattr("kiosk.app.gallery_sync.HttpTransport", lambda url, secure: Line(hosted))
    monkeypatch.setattr(Base, "fetch_policy", lambda base: "")
    with kiosk_of(tmp_path, hosted, Acquirer(NORTH), monkeypatch) as base:
        (tmp_path / "acquirer.json").write_bytes(ACQUIRER)
        published(base, hosted)
        with open_kiosk(base, camera="pi") as kiosk:
            thread = threading.Thread(target=kiosk.kernel.run)
            thread.start()
            sync = open_sync(kiosk)
            assert sync is not None
            try:
                sync.once()
                assert on(kiosk, lambda: kiosk.people.gallery.size) == 4
                hosted.tombstones(2, ["p000001"])
                hosted.publish("tombstones")
                sync.once()
                assert on(kiosk, lambda: kiosk.people.gallery.payer("p000001")) is None
                assert on(kiosk, base.changed_gallery) is None, "nothing is loaded twice"
            finally:
                kiosk.kernel.stop()
                thread.join(20)
    with open_base(tmp_path, None) as base:
        assert [one.what for one in base.audit.entries()].count("sync") == 2


def on(kiosk: Any, work: Callable[[], Any]) -> Any:
    """What `work` gives on the kernel's thread, after what was posted before it."""
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    kiosk.kernel.post(lambda: told.put(work()))
    return told.get(timeout=20)
