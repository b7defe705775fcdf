from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.store import _HEADER, GalleryStore, _person
from kiosk.gallery.template import Template

from .people import people, record


class Key:
    """A key port that only derives."""

    key_id = "test"
    key_class = "dev"

    def __init__(self, secret: bytes = b"k" * 32) -> None:
        self._secret = secret

    def public_key_der(self) -> bytes:
        return b""

    def sign(self, message: bytes) -> bytes:
        return b""

    def derive(self, purpose: str) -> bytes:
        assert purpose == "gallery"
        return self._secret


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "gallery.fpk"


@pytest.fixture
def store(path: Path) -> GalleryStore:
    return GalleryStore(path, Key())


def crowd(count: int = 6) -> Gallery:
    return Gallery(
        (
            record(token, vectors, digits=f"{n:04}")
            for n, (token, vectors) in enumerate(people(count).items())
        ),
        version=41,
    )


def copy_of(path: Path) -> Path:
    return path.with_name("gallery.fpk.copy")


def test_nothing_saved_yet_is_an_empty_gallery(store):
    loaded = store.load()
    assert (loaded.gallery.size, loaded.gallery.version, loaded.warning) == (0, 0, None)


def test_what_was_saved_is_loaded(store, path):
    gallery = crowd()
    store.save(gallery)
    loaded = GalleryStore(path, Key()).load()
    assert loaded.warning is None
    assert loaded.gallery.version == 41
    for before, after in zip(gallery.records(), loaded.gallery.records(), strict=True):
        for name in (
            "token",
            "masked_name",
            "masked_account",
            "digits",
            "consent_ref",
            "enrolled_at_s",
            "model_id",
        ):
            assert getattr(before, name) == getattr(after, name)
        assert np.array_equal(before.vectors(), after.vectors())


def test_an_empty_gallery_can_be_saved(store):
    store.save(Gallery(version=9))
    assert store.load().gallery.version == 9


def test_only_the_owner_may_read_the_files(store, path):
    store.save(crowd())
    for file in (path, copy_of(path)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_of_a_person_is_in_the_clear(store, path):
    gallery = crowd()
    store.save(gallery)
    for file in path.parent.iterdir():
        raw = file.read_bytes()
        for held in gallery.records():
            assert held.token.encode() not in raw
            assert held.masked_account.encode() not in raw
            for vector in held.vectors():
                assert vector[:4].tobytes() not in raw


def test_two_saves_of_one_gallery_share_no_sealed_bytes(store, path):
    store.save(crowd())
    first, copy = path.read_bytes(), copy_of(path).read_bytes()
    assert first[_HEADER.size :][:64] != copy[_HEADER.size :][:64]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_or_cut_file_is_replaced_by_its_copy(store, path, data):
    store.save(crowd(2))
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    loaded = store.load()
    assert loaded.gallery.size == 2
    assert str(path) in loaded.warning
    assert "copy" in loaded.warning
    assert "\n" not in loaded.warning


def test_a_missing_file_is_replaced_by_its_copy(store, path):
    store.save(crowd())
    path.unlink()
    loaded = store.load()
    assert loaded.gallery.size == 6
    assert "missing" in loaded.warning


def test_the_next_save_mends_a_damaged_file(store, path):
    store.save(crowd())
    path.write_bytes(b"broken")
    store.save(store.load().gallery)
    assert store.load().warning is None


def test_a_file_of_another_key_is_refused_in_one_line(store, path):
    store.save(crowd())
    with pytest.raises(OperatorError, match="another key") as caught:
        GalleryStore(path, Key(b"x" * 32)).load()
    assert "Put back this kiosk's key" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_damaged_files_are_never_taken_for_an_empty_gallery(store, path):
    store.save(crowd())
    path.write_bytes(b"")
    copy_of(path).write_bytes(b"FPGAL\r\n\x1a" + b"\xff" * 60)
    with pytest.raises(OperatorError, match="no gallery can be opened"):
        store.load()


def test_a_header_of_another_file_is_not_accepted(store, path):
    store.save(crowd())
    old = path.read_bytes()
    gallery = crowd()
    gallery.forget("p000001")
    store.save(gallery)
    path.write_bytes(path.read_bytes()[: _HEADER.size] + old[_HEADER.size :])
    assert store.load().warning is not None


def test_a_newer_format_is_refused_by_name(store, path):
    store.save(crowd())
    for file in (path, copy_of(path)):
        raw = bytearray(file.read_bytes())
        raw[8] = 2
        file.write_bytes(raw)
    with pytest.raises(OperatorError, match="its format is 2"):
        store.load()


def test_a_header_that_claims_millions_is_refused_before_memory_is_taken(store, path):
    store.save(crowd())
    raw = bytearray(path.read_bytes())
    raw[18:26] = b"\xff" * 8
    path.write_bytes(raw)
    assert "more people" in store.load().warning


def test_whoever_is_forgotten_is_in_neither_file(store, path):
    gallery = crowd()
    store.save(gallery)
    assert store.forget(gallery, "p000002")
    assert sorted(file.name for file in path.parent.iterdir()) == ["gallery.fpk", "gallery.fpk.copy"]
    for broken in (copy_of(path), path):
        whole = {file: file.read_bytes() for file in path.parent.iterdir()}
        broken.write_bytes(b"broken")
        assert "p000002" not in [r.token for r in store.load().gallery.records()]
        for file, raw in whole.items():
            file.write_bytes(raw)


def test_forgetting_someone_unknown_writes_nothing(store, path):
    gallery = crowd()
    store.save(gallery)
    before = path.read_bytes()
    assert not store.forget(gallery, "nobody")
    assert path.read_bytes() == before


def test_a_forgotten_person_is_written_out_when_the_disk_works_again(store, path, monkeypatch):
    gallery = crowd()
    store.save(gallery)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OperatorError, match="can't be written"):
            store.forget(gallery, "p000002")
    assert gallery.payer("p000002") is None
    assert not store.forget(gallery, "p000002")
    assert store.load().gallery.payer("p000002") is None


def full_disk(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


class Killed(BaseException):
    """The process is gone: nothing after this runs."""


@pytest.mark.parametrize("step", range(40))
def test_a_kill_at_any_step_leaves_the_old_or_the_new_gallery(store, path, monkeypatch, step):
    """...and where the new one is in place, nobody who was forgotten is left beside it."""
    gallery = crowd()
    store.save(gallery)
    steps = iter(range(step))
    with monkeypatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (os, "open")):
            patch.setattr(owner, name, killing(getattr(owner, name), steps))
        try:
            store.forget(gallery, "p000002")
            done = True
        except Killed:
            done = False
    fresh = GalleryStore(path, Key())
    loaded = fresh.load()
    held = loaded.gallery.payer("p000002") is not None
    assert loaded.gallery.size == (6 if held else 5)
    assert not (done and held)
    if not held:
        path.write_bytes(b"broken")
        with_copy = loaded_or_none(fresh)
        assert with_copy is None or with_copy.payer("p000002") is None


def loaded_or_none(store: GalleryStore) -> Gallery | None:
    try:
        return store.load().gallery
    except OperatorError:
        return None


def killing(real, steps):
    def call(*args, **kwargs):
        if next(steps, None) is None:
            raise Killed
        return real(*args, **kwargs)

    return call


def test_what_a_crash_left_half_written_is_gone_after_the_next_save(store, path):
    gallery = crowd()
    store.save(gallery)
    for name in ("gallery.fpk.new", "gallery.fpk.copy.new"):
        path.with_name(name).write_bytes(b"half")
    store.save(store.load().gallery)
    assert sorted(file.name for file in path.parent.iterdir()) == ["gallery.fpk", "gallery.fpk.copy"]


def test_loading_changes_nothing_on_the_disk(store, path):
    """Another process may be saving at that moment."""
    store.save(crowd())
    path.with_name("gallery.fpk.new").write_bytes(b"being written")
    store.load()
    assert path.with_name("gallery.fpk.new").read_bytes() == b"being written"


def test_the_loaded_gallery_searches(store):
    gallery = crowd()
    probe = Template(gallery.records()[4].vectors()[0])
    store.save(gallery)
    assert store.load().gallery.search(probe, 1)[0].token == "p000004"


def test_what_a_person_allows_themselves_is_kept(store, path):
    own, free = (
        replace(one, limits=limits)
        for one, limits in zip(
            crowd(2).records(), (Limits(per_payment=200_00, per_person_day=0), Limits()), strict=True
        )
    )
    store.save(Gallery([own, free]))
    loaded = GalleryStore(path, Key()).load().gallery
    assert [loaded.payer(one.token).limits for one in (own, free)] == [own.limits, free.limits]


def test_a_gallery_from_before_there_were_own_limits_is_read(store, path, monkeypatch):
    monkeypatch.setattr(
        "kiosk.gallery.store._person", lambda record: msgspec.structs.astuple(_person(record))[:-2]
    )
    store.save(crowd())
    loaded = GalleryStore(path, Key()).load()
    assert loaded.warning is None
    assert {one.limits for one in loaded.gallery.records()} == {Limits()}
