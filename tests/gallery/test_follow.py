"""A kiosk's gallery in step with a repository: what is fetched, in which order, and what a cut-off leaves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.fetch import Fetcher
from kiosk.gallery.follow import Follower, Round
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.sync import Cause, Repository, SyncRefused
from kiosk.gallery.template import PayerRecord
from tests.gallery.hosted import REGION, URL, Hosted, Line
from tests.gallery.keys import Key
from tests.gallery.people import MODEL, looks, people, record, unit

EPOCH = Epoch(REGION, 1, b"e" * 32)
FOLDER = "repository"


class Kiosk:
    """A kiosk's folder, opened anew for each process that a test pretends."""

    def __init__(self, hosted: Hosted, folder: Path, clock: Any) -> None:
        self.hosted, self.folder, self.clock = hosted, folder, clock
        self.line = Line(hosted)
        self.epochs: Sequence[Epoch] = (EPOCH,)
        self.asked = 0
        self.model, self.close_from = MODEL, 0.99
        self.gone: list[set[str]] = []
        self.withdrawn: list[str] = []
        self.start()

    def start(self) -> None:
        """A process begins: nothing is known but what lies in the folder."""
        self.store = GalleryStore(self.folder / "gallery", Key())
        work = self.folder / FOLDER
        self.follower = Follower(
            self.store,
            work,
            lambda fetcher: Repository(URL, self.hosted.pinned, work, fetcher),
            Fetcher(self.line, self.clock, work),
            self.clock,
            ask=self.ask,
            model_id=self.model,
            close_from=lambda count: self.close_from,
            withdrawn=lambda: self.withdrawn,
        )
        self.follower.on_deletions = lambda tokens: self.gone.append(set(tokens))

    def ask(self) -> Sequence[Epoch]:
        self.asked += 1
        return self.epochs

    def round(self, budget_s: float | None = None) -> Round:
        self.clock.advance(30_000)
        return self.follower.round(budget_s)

    def refused(self) -> Cause:
        before = self.tokens()
        with pytest.raises(SyncRefused) as caught:
            self.round()
        assert self.tokens() == before
        return caught.value.cause

    def tokens(self) -> set[str]:
        return {one.token for one in self.load().records()}

    def load(self) -> Gallery:
        return GalleryStore(self.folder / "gallery", Key()).load().gallery


def enrolled(count: int, seed: int = 1, start: int = 0) -> list[PayerRecord]:
    """People as the network made them; a publisher turns them."""
    return [
        record(f"t{start + number:05}", vectors)
        for number, vectors in enumerate(people(count, seed).values())
    ]


def turned(records: Sequence[PayerRecord], epoch: Epoch) -> list[PayerRecord]:
    return [record(one.token, epoch.turn(one.vectors())) for one in records]


def publish(
    hosted: Hosted, segments: dict[int, list[PayerRecord]], version: int = 1, epoch: Epoch = EPOCH
) -> None:
    for number, records in segments.items():
        hosted.segment(epoch, number, version, turned(records, epoch))
    hosted.publish("gallery")


@pytest.fixture
def hosted() -> Hosted:
    hosted = Hosted()
    publish(hosted, {0: enrolled(5), 1: enrolled(4, 2, 5)})
    return hosted


@pytest.fixture
def kiosk(hosted: Hosted, tmp_path: Path, clock: Any) -> Kiosk:
    clock.advance(int(1000 * (time.time() - clock.utc_s())))  # python-tuf asks the machine what has expired
    return Kiosk(hosted, tmp_path, clock)


def segments_asked(kiosk: Kiosk) -> list[str]:
    return [path for path in kiosk.line.paths() if path.endswith(".seg")]


def test_a_first_round_brings_everybody_and_finds_them(kiosk: Kiosk) -> None:
    done = kiosk.round()

    assert done.gallery is not None
    assert (done.gallery.size, done.fetched, done.whole) == (9, 2, True)
    assert done.gallery.epoch is not None
    assert done.gallery.epoch.id == EPOCH.id
    someone = enrolled(5)[3]
    probe = EPOCH.turn(someone.vectors())[0]
    stored = done.gallery.payer(someone.token)
    assert stored is not None
    np.testing.assert_allclose(stored.vectors()[0], probe, atol=1e-6)
    status = kiosk.store.status()
    assert status is not None
    assert status.fresh_at_s == done.at_s == kiosk.clock.utc_s()


def test_a_first_round_that_came_to_nothing_is_no_word_of_the_acquirer(kiosk: Kiosk) -> None:
    """A clock that was years ahead at the first start, or a line that was down, is nothing to be held to."""
    years_ms = 10 * 365 * 86_400_000
    kiosk.clock.advance(years_ms)
    kiosk.line.down = True
    assert kiosk.refused() is Cause.UNREACHABLE
    status = kiosk.store.status()
    assert status is None or status.fresh_at_s is None

    kiosk.clock.advance(-years_ms)
    kiosk.line.down = False
    assert kiosk.round().gallery is not None


def test_downloads_make_room_on_a_full_disk_for_whoever_withdrew(
    kiosk: Kiosk, hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    kiosk.round()
    waiting = kiosk.folder / FOLDER / "segments" / "waiting.seg"
    waiting.write_bytes(b"what a long download left here")
    real = kiosk.store.delete

    def full(tokens: frozenset[str], version: int | None = None) -> frozenset[str]:
        if waiting.exists():
            raise OperatorError("the gallery can't be written (No space left on device)")
        return real(tokens, version)

    monkeypatch.setattr(kiosk.store, "delete", full)
    hosted.tombstones(2, ["t00003"])
    hosted.publish("tombstones")
    assert kiosk.round().deleted == {"t00003"}
    assert "t00003" not in kiosk.tokens()


def test_who_withdrew_here_does_not_come_with_the_first_round(kiosk: Kiosk, hosted: Hosted) -> None:
    """The acquirer has not heard of it: its address is down, and its files are served from another."""
    kiosk.withdrawn = ["t00003", "t00007"]
    kiosk.round()
    assert len(kiosk.tokens()) == 7
    assert not kiosk.tokens() & {"t00003", "t00007"}

    publish(hosted, {0: enrolled(5), 1: enrolled(4, 2, 5)}, version=2)
    kiosk.start()
    kiosk.round()
    assert not kiosk.tokens() & {"t00003", "t00007"}


def test_a_round_in_which_nothing_changed_fetches_no_segment_and_writes_nothing(kiosk: Kiosk) -> None:
    kiosk.round()
    stamp = kiosk.store.stamp()
    kiosk.line.paths()

    done = kiosk.round()

    assert done.gallery is None
    assert segments_asked(kiosk) == []
    assert kiosk.store.stamp() == stamp
    assert kiosk.asked == 1


def test_only_the_segment_that_changed_is_fetched(kiosk: Kiosk) -> None:
    kiosk.round()
    publish(kiosk.hosted, {1: enrolled(6, 2, 5)}, version=2)
    kiosk.line.paths()

    done = kiosk.round()

    assert done.gallery is not None
    assert (done.fetched, done.gallery.size) == (1, 11)
    assert len(segments_asked(kiosk)) == 1


def test_a_segment_that_is_published_no_more_goes(kiosk: Kiosk) -> None:
    kiosk.round()
    del kiosk.hosted.delegated["gallery"].targets[f"gallery/{EPOCH.id}/1.seg"]
    kiosk.hosted.publish("gallery")

    done = kiosk.round()

    assert done.gallery is not None
    assert done.gallery.size == 5


def test_whoever_withdrew_is_gone_before_any_segment_is_fetched(kiosk: Kiosk) -> None:
    kiosk.round()
    kiosk.hosted.tombstones(2, ["t00003"])
    kiosk.hosted.publish("tombstones")
    publish(kiosk.hosted, {0: [one for one in enrolled(5) if one.token != "t00003"]}, version=2)
    kiosk.line.instead |= {
        path: lambda content: iter([b"x"]) for path in kiosk.hosted.files if path.endswith(".seg")
    }

    with pytest.raises(SyncRefused):
        kiosk.round()

    assert kiosk.gone == [{"t00003"}]
    assert "t00003" not in kiosk.tokens()
    assert len(kiosk.tokens()) == 8


def test_a_list_of_deletions_is_carried_out_once(kiosk: Kiosk) -> None:
    kiosk.hosted.tombstones(2, ["t00003"])
    kiosk.hosted.publish("tombstones")
    assert kiosk.round().gallery is not None
    assert "t00003" not in kiosk.tokens(), "the segment that still holds them brings them not"
    kiosk.gone.clear()

    kiosk.round()
    kiosk.start()
    kiosk.round()

    assert kiosk.gone == []


def test_people_enrolled_here_withdraw_at_the_acquirer_too(kiosk: Kiosk) -> None:
    kiosk.round()
    gallery = kiosk.store.load().gallery
    kiosk.store.enrol(
        gallery, record("own", looks(unit(np.random.default_rng(9), 1)[0], np.random.default_rng(8)))
    )
    assert "own" in kiosk.tokens()
    kiosk.hosted.tombstones(2, ["own"])
    kiosk.hosted.publish("tombstones")

    assert kiosk.round().deleted == {"own"}
    assert "own" not in kiosk.tokens()


def test_a_new_epoch_takes_the_place_of_the_old_one_whole(kiosk: Kiosk) -> None:
    kiosk.round()
    gallery = kiosk.store.load().gallery
    mine = looks(unit(np.random.default_rng(9), 1)[0], np.random.default_rng(8), 2)
    kiosk.store.enrol(gallery, record("own", mine))
    renewed = Epoch(REGION, 2, b"f" * 32)
    kiosk.epochs = (renewed, EPOCH)
    publish(kiosk.hosted, {0: enrolled(3)}, epoch=renewed)

    done = kiosk.round()

    assert done.gallery is not None
    assert done.gallery.epoch is not None
    assert done.gallery.epoch.id == renewed.id
    assert kiosk.tokens() == {"t00000", "t00001", "t00002", "own"}
    own = done.gallery.payer("own")
    assert own is not None
    np.testing.assert_allclose(own.vectors(), renewed.turn(mine), atol=1e-5)


def test_without_the_key_of_the_newest_epoch_the_old_gallery_stays(kiosk: Kiosk) -> None:
    kiosk.round()
    publish(kiosk.hosted, {0: enrolled(3)}, epoch=Epoch(REGION, 2, b"f" * 32))

    assert kiosk.refused() is Cause.NO_KEY
    kiosk.epochs = ()
    kiosk.folder = kiosk.folder / "another"
    kiosk.start()
    assert kiosk.refused() is Cause.NO_KEY


def test_an_epoch_that_is_older_than_the_one_here_is_a_rollback(kiosk: Kiosk) -> None:
    renewed = Epoch(REGION, 2, b"f" * 32)
    kiosk.epochs = (renewed, EPOCH)
    publish(kiosk.hosted, {0: enrolled(3)}, epoch=renewed)
    kiosk.round()
    for target in [path for path in kiosk.hosted.delegated["gallery"].targets if renewed.id in path]:
        del kiosk.hosted.delegated["gallery"].targets[target]
    kiosk.hosted.publish("gallery")

    assert kiosk.refused() is Cause.ROLLBACK


def test_an_older_state_is_refused_although_its_metadata_was_taken_away(kiosk: Kiosk) -> None:
    """TUF's own memory of versions lies in a folder: the sealed manifest remembers too."""
    old = dict(kiosk.hosted.files)
    kiosk.hosted.tombstones(2, ["t00003"])
    kiosk.hosted.publish("tombstones")
    kiosk.round()
    kiosk.hosted.files = old
    shutil.rmtree(kiosk.folder / FOLDER)
    kiosk.start()

    assert kiosk.refused() is Cause.ROLLBACK


def test_an_older_version_of_one_segment_is_a_rollback(kiosk: Kiosk) -> None:
    publish(kiosk.hosted, {0: enrolled(5)}, version=5)
    kiosk.round()
    publish(kiosk.hosted, {0: enrolled(5)}, version=4)

    assert kiosk.refused() is Cause.ROLLBACK


def test_a_segment_that_stands_in_anothers_place_does_not_open(kiosk: Kiosk) -> None:
    hosted = kiosk.hosted
    sealed = hosted.segment(EPOCH, 0, 2, turned(enrolled(4), EPOCH))
    hosted.add(
        "gallery",
        f"gallery/{EPOCH.id}/1.seg",
        sealed,
        {"region": REGION, "epoch": 1, "version": 2, "people": 4, "model_id": MODEL, "references": 8},
    )
    hosted.publish("gallery")

    assert kiosk.refused() is Cause.ALTERED


def test_a_segment_with_other_people_than_listed_is_refused(kiosk: Kiosk) -> None:
    kiosk.hosted.segment(EPOCH, 1, 2, turned(enrolled(4, 2, 5), EPOCH), {"people": 3})
    kiosk.hosted.publish("gallery")

    assert kiosk.refused() is Cause.ALTERED


def test_templates_of_another_network_are_refused(kiosk: Kiosk) -> None:
    kiosk.model = "another-network"
    kiosk.start()

    assert kiosk.refused() is Cause.OTHER_NETWORK


def test_a_person_in_two_segments_is_refused(kiosk: Kiosk) -> None:
    publish(kiosk.hosted, {0: enrolled(5), 1: enrolled(5)}, version=2)

    with pytest.raises(ProtocolError):
        kiosk.round()
    assert kiosk.tokens() == set()


def test_another_region_is_another_gallery(kiosk: Kiosk) -> None:
    south = Epoch("south", 1, b"s" * 32)
    publish(kiosk.hosted, {0: enrolled(3, 7, 100)}, epoch=south)

    kiosk.round()

    assert len(kiosk.tokens()) == 9


def test_a_clock_that_was_set_back_stops_the_sync(kiosk: Kiosk) -> None:
    """What has expired by the true time has not by a clock that stands still: a freeze without a trace."""
    kiosk.round()
    kiosk.clock.advance(-3_600_000)

    assert kiosk.refused() is Cause.CLOCK


def test_a_gallery_that_nobody_published_yet_is_no_error(tmp_path: Path, clock: Any) -> None:
    clock.advance(int(1000 * (time.time() - clock.utc_s())))
    kiosk = Kiosk(Hosted(), tmp_path, clock)

    done = kiosk.round()

    assert (done.gallery, done.fetched, done.whole) == (None, 0, True)
    status = kiosk.store.status()
    assert status is not None
    assert status.fresh_at_s is not None


# --- large downloads, neighbours ---


def test_a_large_download_takes_several_rounds_and_deletions_come_between(kiosk: Kiosk) -> None:
    kiosk.line.before_piece = lambda path: kiosk.clock.advance(4000 if path.endswith(".seg") else 0)
    kiosk.line.piece = 4096

    first = kiosk.round(5)
    assert (first.whole, first.gallery) == (False, None)
    kiosk.hosted.tombstones(2, ["t00001"])
    kiosk.hosted.publish("tombstones")
    kiosk.start()
    rounds = [kiosk.round(5) for _ in range(6)]

    assert kiosk.gone == [{"t00001"}]
    last = next(done for done in rounds if done.gallery)
    assert last.gallery is not None
    assert last.gallery.size == 8
    assert not list((kiosk.folder / FOLDER / "segments").iterdir())


def test_what_an_earlier_state_wanted_is_not_kept(kiosk: Kiosk) -> None:
    kiosk.line.before_piece = lambda path: kiosk.clock.advance(4000 if path.endswith(".seg") else 0)
    kiosk.round(5)
    publish(kiosk.hosted, {0: enrolled(2), 1: enrolled(4, 2, 5)}, version=2)

    kiosk.line.before_piece = lambda path: None
    assert kiosk.round().fetched == 2


def twins(count: int = 4) -> list[PayerRecord]:
    """The first two are one person enrolled twice, or twins."""
    several = enrolled(count, 5, 50)
    return [*several, record("twin", several[0].vectors())]


def test_twins_are_marked_before_anybody_can_pay(kiosk: Kiosk) -> None:
    publish(kiosk.hosted, {2: twins()})

    done = kiosk.round()

    assert done.gallery is not None
    assert done.gallery.neighbours == {"t00050", "twin"}
    assert kiosk.load().neighbours == {"t00050", "twin"}


def test_only_who_came_is_compared_and_marks_stay(kiosk: Kiosk) -> None:
    publish(kiosk.hosted, {2: twins()})
    kiosk.round()
    publish(
        kiosk.hosted,
        {0: enrolled(5), 1: [*enrolled(4, 2, 5), record("double", enrolled(5)[0].vectors())]},
        version=2,
    )

    done = kiosk.round()

    assert done.gallery is not None
    assert done.gallery.neighbours == {"t00050", "twin", "double", "t00000"}


def test_deletions_do_not_wait_while_neighbours_are_looked_for(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(records: Any, at: float, *, fresh: Any, progress: Callable[[int, int], None]) -> tuple[()]:
        kiosk.hosted.tombstones(2, ["t00002"])
        kiosk.hosted.publish("tombstones")
        kiosk.clock.advance(21_000)
        progress(1, 2)
        progress(2, 2)
        return ()

    monkeypatch.setattr("kiosk.gallery.follow.close_pairs", slowly)

    done = kiosk.round()

    assert kiosk.gone == [{"t00002"}]
    assert done.gallery is not None
    assert done.gallery.payer("t00002") is None
    assert "t00002" not in kiosk.tokens()


def test_whoever_was_not_compared_before_a_cut_is_compared_after_it(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(kiosk.hosted, {2: twins()})
    with monkeypatch.context() as patch:
        patch.setattr("kiosk.gallery.follow.close_pairs", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            kiosk.round()
    kiosk.start()
    kiosk.follower.audited(kiosk.store.load().gallery)

    done = kiosk.round()

    assert done.gallery is not None
    assert done.gallery.neighbours == {"t00050", "twin"}
