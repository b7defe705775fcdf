"""What a sync changes: deletions first, then segments, then the epoch; whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.gallery.change import Change, NewSegment, Source
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.template import PayerRecord, Template
from kiosk.gallery.turning import turned

from .keys import files_in, store_in
from .people import people, record
from .test_store import killed_at, tokens

LOCAL = Epoch("local", 1, b"e" * 32)
FIRST = Epoch("CN-31", 1, b"1" * 32)
SECOND = Epoch("CN-31", 2, b"2" * 32)

CROWD = people(12, seed=4)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a disk, or makes the turn of an epoch more than once."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(Epoch, "new", lambda region, number=1: LOCAL)
    known = {epoch.id: epoch for epoch in (LOCAL, FIRST, SECOND)}
    monkeypatch.setattr(
        "kiosk.gallery.manifest.Epoch", lambda region, number, secret: known[Epoch(region, number, secret).id]
    )


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return store_in(tmp_path)


def raw(number: int) -> PayerRecord:
    return record(f"p{number:06}", CROWD[f"p{number:06}"])


def segment(
    number: int, who: Iterable[int], epoch: Epoch = FIRST, version: int = 1, **changed: object
) -> NewSegment:
    """Each call of `records` opens it anew, as from a file."""
    numbers = tuple(who)

    def records() -> list[PayerRecord]:
        return [replace(turned(raw(one), epoch), **changed) for one in numbers]

    digest = hashlib.sha256(repr((number, version, numbers, epoch.id)).encode()).hexdigest()
    return NewSegment(number, version, digest, f"gallery/{epoch.id}/{number}.seg", records)


def names(*numbers: int) -> set[str]:
    return {f"p{number:06}" for number in numbers}


def synced(store: GalleryStore) -> Gallery:
    return store.apply(
        Change(put=(segment(0, range(4)), segment(1, range(4, 8))), epoch=FIRST, fresh_at_s=1_800_000_000.0)
    )


def finds(gallery: Gallery, number: int) -> bool:
    assert gallery.epoch is not None
    probe = Template.of(gallery.epoch.turn(raw(number).vectors()[0]))
    found = gallery.search(probe, 1)
    return bool(found) and found[0].token == f"p{number:06}" and found[0].score > 0.999


def test_the_first_sync_puts_everybody_in_the_acquirers_epoch(store, tmp_path):
    gallery = synced(store)
    assert tokens(gallery) == names(*range(8))
    assert gallery.epoch.id == FIRST.id
    assert all(finds(gallery, number) for number in range(8))
    assert tokens(store_in(tmp_path).load().gallery) == names(*range(8))
    status = store.status()
    assert status.fresh_at_s == 1_800_000_000.0
    assert [(one.number, one.version, one.people) for one in status.of(Source.ACQUIRER)] == [
        (0, 1, 4),
        (1, 1, 4),
    ]
    assert status.segments[0].digest == segment(0, range(4)).digest
    assert status.segments[0].name == f"gallery/{FIRST.id}/0.seg"


def test_the_acquirers_segments_are_kept_once_and_sealed_anew(store, tmp_path):
    synced(store)
    assert {name for name in files_in(tmp_path) if "seg" in name} == {
        "acquirer-000000-1.seg",
        "acquirer-000001-1.seg",
    }


def test_what_the_store_is_given_is_overwritten_when_it_was_sealed(store):
    given = segment(0, range(2)).records()
    store.apply(Change(put=(replace(segment(0, range(2)), records=lambda: given),), epoch=FIRST))
    assert all(one.references[0].template.wiped for one in given)


def test_only_changed_segments_are_written(store, tmp_path):
    synced(store)
    before = files_in(tmp_path)
    gallery = store.apply(Change(put=(segment(1, (4, 5, 8), version=2),)))
    assert tokens(gallery) == names(0, 1, 2, 3, 4, 5, 8)
    assert before - files_in(tmp_path) == {"acquirer-000001-1.seg"}
    assert gallery.version == 2


def test_a_segment_that_is_dropped_takes_its_people_along(store, tmp_path):
    synced(store)
    assert tokens(store.apply(Change(drop=frozenset({0})))) == names(4, 5, 6, 7)
    assert not list((tmp_path / "gallery").glob("acquirer-000000*"))


def test_a_sync_that_changes_nobody_is_no_new_version(store):
    before = synced(store).version
    assert store.apply(Change(fresh_at_s=1_800_009_000.0)).version == before
    assert store.status().fresh_at_s == 1_800_009_000.0


# --- deletions ------------------------------------------------------------------------------------------


def test_deletions_reach_everybody_wherever_they_came_from(store, tmp_path):
    gallery = synced(store)
    store.enrol(gallery, raw(9))
    assert store.delete(frozenset(names(1, 5, 9, 11)), 7) == names(1, 5, 9)
    assert tokens(store_in(tmp_path).load().gallery) == names(0, 2, 3, 4, 6, 7)
    assert store.status().tombstones_version == 7


def test_the_same_list_again_writes_nothing(store):
    synced(store)
    store.delete(frozenset(names(1)), 7)
    stamp = store.stamp()
    assert store.delete(frozenset(names(1)), 7) == frozenset()
    assert store.stamp() == stamp


def test_deletions_stand_even_where_a_segment_is_then_refused(store, tmp_path):
    synced(store)
    change = Change(deletions=frozenset(names(2)), tombstones_version=3, put=(segment(1, (0, 5), version=2),))
    with pytest.raises(ProtocolError, match="twice"):
        store.apply(change)
    assert tokens(store_in(tmp_path).load().gallery) == names(0, 1, 3, 4, 5, 6, 7)


def test_a_segment_that_was_published_before_does_not_bring_a_withdrawn_person_back(store):
    synced(store)
    store.delete(frozenset(names(2)), 3)
    assert names(2) & tokens(store.apply(Change(put=(segment(0, range(4), version=2),)))) == set()
    store.delete(frozenset(), 4)
    assert tokens(store.apply(Change(put=(segment(0, range(4), version=3),)))) >= names(2)


def test_nor_one_who_was_forgotten_here(store, tmp_path):
    gallery = synced(store)
    assert store.forget(gallery, "p000002")
    again = store_in(tmp_path).apply(Change(put=(segment(0, range(4), version=2),)))
    assert tokens(again) == names(0, 1, 3, 4, 5, 6, 7)


def test_whoever_was_forgotten_here_may_be_enrolled_again(store):
    gallery = synced(store)
    store.forget(gallery, "p000002")
    store.enrol(gallery, raw(2))
    assert finds(store.load().gallery, 2)


def test_a_token_that_the_acquirer_withdrew_is_not_enrolled(store):
    gallery = synced(store)
    store.delete(frozenset(names(9)), 3)
    with pytest.raises(OperatorError, match="withdrew"):
        store.enrol(gallery, raw(9))


def test_the_version_counts_each_person_who_went(store):
    gallery = synced(store)
    found = store.delete(frozenset(names(1, 5)), 3)
    for token in found:
        gallery.forget(token)
    assert gallery.version == store.status().version == store.load().gallery.version


# --- own people -----------------------------------------------------------------------------------------


def test_own_people_are_turned_over_when_the_acquirers_epoch_comes(store, tmp_path):
    gallery = store.load().gallery
    store.enrol(gallery, raw(9))
    before = gallery.records()[0].vectors()
    after = synced(store)
    assert after.epoch.id == FIRST.id
    assert finds(after, 9)
    assert float(np.sum(before[0] * after.payer("p000009").vectors()[0])) < 0.5
    assert finds(store_in(tmp_path).load().gallery, 9)


def test_a_new_epoch_replaces_every_segment_of_the_old_one(store, tmp_path):
    gallery = synced(store)
    store.enrol(gallery, raw(9))
    after = store.apply(Change(put=(segment(0, range(3), epoch=SECOND),), epoch=SECOND))
    assert tokens(after) == names(0, 1, 2, 9)
    assert all(finds(after, number) for number in (0, 1, 2, 9))
    assert FIRST.secret not in b"".join(path.read_bytes() for path in (tmp_path / "gallery").iterdir())
    assert store.status().epoch.id == SECOND.id


def test_a_person_who_was_enrolled_here_and_is_published_then_is_held_once(store):
    gallery = synced(store)
    store.enrol(gallery, raw(9))
    after = store.apply(Change(put=(segment(2, (9, 10)),)))
    assert tokens(after) == names(*range(8), 9, 10)
    assert store.status().of(Source.OWN) == ()


def test_an_enrolment_here_that_is_newer_than_the_published_one_stays(store):
    gallery = synced(store)
    store.enrol(gallery, replace(raw(9), digits="7777"))
    older = segment(2, (9, 10), enrolled_at_s=1_700_000_000)
    after = store.apply(Change(put=(older,)))
    assert after.payer("p000009").digits == "7777"
    assert [one.people for one in store.status().segments] == [4, 4, 1, 1]


def test_a_published_person_who_is_enrolled_here_again_moves(store):
    gallery = synced(store)
    store.enrol(gallery, replace(raw(2), digits="7777"))
    loaded = store.load().gallery
    assert loaded.payer("p000002").digits == "7777"
    assert loaded.size == 8
    assert store.status().of(Source.ACQUIRER)[0].digest == segment(0, range(4)).digest


def test_templates_of_another_network_are_refused_and_change_nothing(store, tmp_path):
    synced(store)
    before = segment(2, (9,))

    def other() -> list[PayerRecord]:
        return [turned(record("x", CROWD["p000009"], model="other"), FIRST)]

    with pytest.raises(OperatorError, match="can't join"):
        store.apply(Change(put=(replace(before, records=other),)))
    assert store_in(tmp_path).load().gallery.size == 8


# --- damage and kills -----------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"broken")])
def test_a_damaged_segment_of_the_acquirers_is_left_out_and_fetched_again(
    store, tmp_path, harm: Callable[[Path], object]
):
    synced(store)
    harm(tmp_path / "gallery" / "acquirer-000001-1.seg")
    other = store_in(tmp_path)
    loaded = other.load()
    assert tokens(loaded.gallery) == names(0, 1, 2, 3)
    assert "4 people wait for the next sync" in loaded.warning
    assert [one.number for one in other.status().segments] == [0]
    assert len(other.verify()) == 1
    assert other.delete(frozenset(names(5)), 3) == frozenset()
    again = other.apply(Change(put=(segment(1, range(4, 8)),)))
    assert tokens(again) == names(0, 1, 2, 3, 4, 6, 7)
    assert other.verify() == ()
    assert [one.number for one in other.status().segments] == [0, 1]


def test_a_person_who_went_while_their_file_was_damaged_does_not_come_back_with_it(store, tmp_path):
    synced(store)
    path = tmp_path / "gallery" / "acquirer-000001-1.seg"
    whole = path.read_bytes()
    path.write_bytes(b"broken")
    store_in(tmp_path).delete(frozenset(names(5)), 3)
    path.write_bytes(whole)
    assert tokens(store_in(tmp_path).load().gallery) == names(0, 1, 2, 3, 4, 6, 7)


@pytest.mark.parametrize("step", range(75))
def test_a_kill_at_any_step_of_a_sync_leaves_a_gallery_of_one_epoch(store, tmp_path, monkeypatch, step):
    gallery = synced(store)
    store.enrol(gallery, raw(9))
    change = Change(
        deletions=frozenset(names(0)),
        tombstones_version=2,
        put=(segment(0, range(3), epoch=SECOND), segment(1, (10, 11), epoch=SECOND)),
        epoch=SECOND,
    )
    done = killed_at(step, monkeypatch, lambda: store.apply(change))
    fresh = store_in(tmp_path)
    loaded = fresh.load()
    assert loaded.warning is None
    old, less, new = names(*range(8), 9), names(*range(1, 8), 9), names(1, 2, 9, 10, 11)
    assert done or step < 74
    assert tokens(loaded.gallery) in ((new,) if done else (old, less, new))
    assert loaded.gallery.epoch.id == (SECOND.id if tokens(loaded.gallery) == new else FIRST.id)
    assert finds(loaded.gallery, 2)
    assert finds(loaded.gallery, 9)
    fresh.tidy()
    assert fresh.verify() == ()
    assert len(files_in(tmp_path)) == 6
    assert tokens(fresh.apply(change)) == new
