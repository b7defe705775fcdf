"""A gallery in memory follows what another process did, and is loaded anew where that was much."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kiosk.gallery.change import Change
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.template import Template

from .keys import store_in
from .people import people, record
from .test_apply import FIRST, finds, names, raw, segment
from .test_store import EPOCH, tokens


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a disk, or makes the turn of an epoch more than once."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(Epoch, "new", lambda region, number=1: EPOCH)
    monkeypatch.setattr("kiosk.gallery.rewrite.OWN_PEOPLE", 3)


@pytest.fixture
def here(tmp_path: Path) -> GalleryStore:
    return store_in(tmp_path)


@pytest.fixture
def gallery(here: GalleryStore) -> Gallery:
    gallery = here.load().gallery
    for number in range(6):
        here.enrol(gallery, raw(number))
    here.in_step(here.stamp())
    return gallery


@pytest.fixture
def there(gallery: Gallery, tmp_path: Path) -> tuple[GalleryStore, Gallery]:
    """Another process."""
    other = store_in(tmp_path)
    return other, other.load().gallery


def in_step(here: GalleryStore, gallery: Gallery, there: tuple[GalleryStore, Gallery]) -> bool:
    if here.changed_elsewhere() and not here.catch_up(gallery):
        return False
    assert not here.changed_elsewhere()
    assert tokens(gallery) == tokens(there[1])
    assert gallery.version == there[1].version
    return True


def test_whoever_is_forgotten_elsewhere_is_forgotten_and_overwritten_here(here, gallery, there):
    template = gallery.payer("p000002").references[0].template
    there[0].forget(there[1], "p000002")
    assert in_step(here, gallery, there)
    assert template.wiped
    assert not finds(gallery, 2)
    assert finds(gallery, 3)


def test_the_last_of_a_segment_too(here, gallery, there):
    for number in (0, 1, 2):
        there[0].forget(there[1], f"p{number:06}")
    assert in_step(here, gallery, there)


def test_whoever_is_enrolled_elsewhere_is_found_here(here, gallery, there):
    there[0].enrol(there[1], raw(9))
    assert in_step(here, gallery, there)
    assert finds(gallery, 9)


def test_whoever_is_enrolled_elsewhere_again_is_replaced_and_others_stay(here, gallery, there):
    kept = gallery.payer("p000001")
    there[0].enrol(there[1], replace(raw(2), digits="7777"))
    there[0].enrol(there[1], record("p000003", people(1, seed=77)["p000000"]))
    assert in_step(here, gallery, there)
    assert gallery.payer("p000002").digits == "7777"
    assert not finds(gallery, 3)
    assert gallery.payer("p000001") is kept
    assert gallery.search(Template(kept.references[0].template.vector), 1)[0].token == "p000001"


def test_ones_own_changes_and_anothers_in_turn_are_both_kept(here, gallery, there):
    there[0].enrol(there[1], raw(9))
    assert in_step(here, gallery, there)
    here.forget(gallery, "p000004")
    assert there[0].catch_up(there[1])
    there[0].enrol(there[1], raw(10))
    assert in_step(here, gallery, there)
    assert tokens(here.load().gallery) == names(0, 1, 2, 3, 5, 9, 10)


def test_neighbours_are_followed(here, gallery, there):
    there[0].note(neighbours=frozenset(names(1, 2)))
    assert in_step(here, gallery, there)
    assert gallery.neighbours == names(1, 2)


def test_another_epoch_is_loaded_anew(here, gallery, there):
    there[0].apply(Change(put=(segment(0, (10, 11)),), epoch=FIRST))
    assert not here.catch_up(gallery)
    assert here.changed_elsewhere()


def test_many_at_once_are_loaded_anew(here, gallery, there, monkeypatch):
    monkeypatch.setattr("kiosk.gallery.catch_up.MOST", 2)
    there[0].enrol(there[1], raw(9))
    there[0].enrol(there[1], raw(10))
    there[0].enrol(there[1], raw(11))
    assert not here.catch_up(gallery)
    assert tokens(gallery) == names(*range(6))


def test_what_a_thread_of_this_process_wrote_for_another_gallery_is_loaded_anew(here, gallery, there):
    here.apply(Change(put=(segment(0, (10, 11), epoch=EPOCH),)))
    there[0].delete(frozenset(names(4)))
    assert here.changed_elsewhere()
    assert not here.catch_up(gallery)


def test_a_gallery_that_fell_behind_is_loaded_anew(here, gallery):
    here.fall_behind()
    assert here.changed_elsewhere()
    assert not here.catch_up(gallery)


def test_an_empty_gallery_and_one_without_an_epoch_are_loaded_anew(here, gallery):
    assert not here.catch_up(Gallery(epoch=EPOCH))
    assert not here.catch_up(Gallery())


def test_a_file_that_can_t_be_believed_is_left_to_the_load(here, gallery, there, tmp_path):
    there[0].enrol(there[1], raw(9))
    there[0].enrol(there[1], replace(raw(0), digits="7777"))
    for path in (tmp_path / "gallery").glob("own-000002-*"):
        path.write_bytes(b"broken")
    assert not here.catch_up(gallery)
    assert tokens(gallery) == names(*range(6))
