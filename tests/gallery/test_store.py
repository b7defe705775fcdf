"""The gallery on disk: what is kept, what is refused, and that whoever is forgotten is nowhere."""

from __future__ import annotations

import os
import random
import signal
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.gallery.change import Source
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.manifest import GalleryDamaged
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.template import PayerRecord, Template

from .keys import Key, files_in, store_in
from .people import people, record


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a disk, or makes the turn of an epoch more than once."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(Epoch, "new", lambda region, number=1: EPOCH)


EPOCH = Epoch("local", 1, b"e" * 32)


def crowd(count: int = 6) -> list[PayerRecord]:
    return [
        record(token, vectors, digits=f"{n:04}") for n, (token, vectors) in enumerate(people(count).items())
    ]


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return store_in(tmp_path)


def enrolled(store: GalleryStore, count: int = 6) -> Gallery:
    gallery = store.load().gallery
    for one in crowd(count):
        store.enrol(gallery, one)
    return gallery


def tokens(gallery: Gallery) -> set[str]:
    return {one.token for one in gallery.records()}


def own_file(folder: Path) -> Path:
    (file,) = (folder / "gallery").glob("own-*.seg")
    return file


# --- what is kept ---------------------------------------------------------------------------------------


def test_nothing_kept_yet_is_an_empty_gallery_and_writes_nothing(store, tmp_path):
    loaded = store.load()
    assert (loaded.gallery.size, loaded.gallery.version, loaded.warning) == (0, 0, None)
    assert store.status() is None
    assert store.verify() == ()
    assert store.stamp() is None
    store.tidy()
    assert list(tmp_path.iterdir()) == []


def test_what_was_enrolled_is_loaded_turned_with_all_that_is_known(store, tmp_path):
    before = [
        replace(
            one,
            limits=Limits(per_payment=200_00, per_person_day=0),
            keep_until_s=1_900_000_000,
            consent_text="v1/ar",
        )
        for one in crowd(3)
    ]
    gallery = store.load().gallery
    for one in before:
        store.enrol(gallery, one)
    loaded = store_in(tmp_path).load()
    assert loaded.warning is None
    assert loaded.gallery.version == gallery.version == 3
    for old, kept, new in zip(before, gallery.records(), loaded.gallery.records(), strict=True):
        assert np.array_equal(kept.vectors(), new.vectors())
        assert np.allclose(loaded.gallery.epoch.turn_back(new.vectors()), old.vectors(), atol=1e-6)
        assert replace(new, references=old.references).__repr__() == old.__repr__()
        assert (new.limits, new.keep_until_s, new.digits) == (old.limits, old.keep_until_s, old.digits)


def test_a_turned_probe_finds_whom_an_unturned_one_does_not(store):
    gallery = enrolled(store)
    raw = crowd()[4].vectors()[0]
    assert gallery.search(Template.of(gallery.epoch.turn(raw)), 1)[0].score == pytest.approx(1.0)
    assert gallery.search(Template.of(raw), 1)[0].score < 0.5


def test_two_kiosks_turn_one_person_differently(tmp_path, monkeypatch):
    held = []
    for name in ("a", "b"):
        epoch = Epoch("local", 1, name.encode() * 32)
        monkeypatch.setattr(Epoch, "new", lambda region, number=1, epoch=epoch: epoch)
        gallery = enrolled(store_in(tmp_path / name), 1)
        held.append(gallery.records()[0].vectors()[0])
    assert abs(float(held[0] @ held[1])) < 0.4


def test_enrolling_again_replaces_and_moves_nobody_else(store, tmp_path):
    gallery = enrolled(store)
    store.enrol(gallery, replace(crowd()[2], digits="7777"))
    loaded = store_in(tmp_path).load().gallery
    assert loaded.size == gallery.size == 6
    assert loaded.payer("p000002").digits == "7777"
    assert loaded.version == gallery.version == 7


def test_only_the_segment_of_whoever_comes_or_goes_is_written(store, tmp_path, monkeypatch):
    monkeypatch.setattr("kiosk.gallery.rewrite.OWN_PEOPLE", 2)
    gallery = enrolled(store)
    before = files_in(tmp_path)
    store.forget(gallery, "p000003")
    gone, come = before - files_in(tmp_path), files_in(tmp_path) - before
    assert {name.split("-")[1] for name in gone} == {"000001"}
    assert {name.split("-")[1] for name in come} == {"000001"}
    store.enrol(gallery, record("new", people(1, seed=9)["p000000"]))
    assert store_in(tmp_path).load().gallery.size == 6
    assert [segment.people for segment in store.status().segments] == [2, 2, 2]


def test_a_whole_gallery_can_be_saved_and_needs_its_epoch(store, tmp_path):
    epoch = Epoch.new("local")
    store.save(Gallery(crowd(), version=9, epoch=epoch))
    loaded = store_in(tmp_path).load().gallery
    assert (loaded.size, loaded.version, loaded.epoch.id) == (6, 9, epoch.id)
    store.save(Gallery(crowd(2), version=10, epoch=Epoch.new("local")))
    assert store_in(tmp_path).load().gallery.size == 2
    with pytest.raises(ValueError, match="not turned"):
        store.save(Gallery(crowd()))


def test_status_is_told_by_the_manifest_alone(store, tmp_path):
    enrolled(store)
    status = store_in(tmp_path).status()
    assert (status.people, status.references, status.version) == (6, 12, 6)
    assert [(one.source, one.number) for one in status.of(Source.OWN)] == [(Source.OWN, 0)]
    assert status.of(Source.ACQUIRER) == ()
    assert status.epoch.region == "local"
    assert abs(status.since_s - time.time()) < 60
    assert status.fresh_at_s is None


def test_freshness_is_not_written_at_every_poll(store):
    store.note(fresh_at_s=10.0)
    stamp = store.stamp()
    store.note(fresh_at_s=100.0)
    assert store.stamp() == stamp
    store.note(fresh_at_s=400.0)
    assert store.status().fresh_at_s == 400.0


def test_neighbours_are_kept_and_loaded(store, tmp_path):
    enrolled(store)
    store.note(neighbours=frozenset({"p000001", "p000004"}))
    assert store_in(tmp_path).load().gallery.neighbours == {"p000001", "p000004"}
    assert store.status().neighbours == {"p000001", "p000004"}


def test_neighbours_of_a_gallery_that_changed_meanwhile_take_nobody_s_mark(store):
    gallery = enrolled(store)
    compared = gallery.version
    store.enrol(gallery, record("twin", people(1, seed=9)["p000000"]))  # a sync that others carried out
    store.note(neighbours=frozenset({"twin", "p000000"}), compared=gallery.version)

    store.note(neighbours=frozenset({"p000001"}), compared=compared)
    assert store.status().neighbours == {"twin", "p000000", "p000001"}
    store.note(neighbours=frozenset({"p000001"}), compared=gallery.version)
    assert store.status().neighbours == {"p000001"}


def test_a_network_that_is_not_the_others_is_refused_and_nothing_changes(store, tmp_path):
    gallery = enrolled(store, 2)
    before = files_in(tmp_path)
    with pytest.raises(OperatorError, match="can't join"):
        store.enrol(gallery, record("new", people(1, seed=9)["p000000"], model="other"))
    assert tokens(gallery) == tokens(store_in(tmp_path).load().gallery) == {"p000000", "p000001"}
    store.tidy()
    assert files_in(tmp_path) == before


def test_a_gallery_of_another_epoch_takes_nobody(store):
    enrolled(store, 1)
    stale = Gallery(epoch=Epoch("local", 1, b"f" * 32))
    with pytest.raises(ValueError, match="another epoch"):
        store.enrol(stale, crowd()[1])


# --- what lies on the disk ------------------------------------------------------------------------------


def test_only_the_owner_may_read_the_files(store, tmp_path):
    enrolled(store)
    for name in files_in(tmp_path):
        assert stat.S_IMODE((tmp_path / "gallery" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "gallery").stat().st_mode) == 0o700


def test_nothing_of_a_person_or_of_the_epoch_is_in_the_clear(store, tmp_path):
    gallery = enrolled(store)
    raw = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert gallery.epoch.secret not in raw
    for held, before in zip(gallery.records(), crowd(), strict=True):
        assert held.token.encode() not in raw
        assert held.masked_account.encode() not in raw
        for vector in (*held.vectors(), *before.vectors()):
            assert vector[:4].tobytes() not in raw
    assert gallery.epoch.secret.hex() not in repr(store.status())


def test_whoever_is_forgotten_is_in_no_file_and_overwritten_in_memory(store, tmp_path):
    gallery = enrolled(store)
    template = gallery.payer("p000002").references[0].template
    before = files_in(tmp_path)
    assert store.forget(gallery, "p000002")
    assert template.wiped
    assert len(files_in(tmp_path)) == 4
    assert not {name for name in before if "seg" in name} & files_in(tmp_path)
    for broken in files_in(tmp_path):
        path = tmp_path / "gallery" / broken
        whole = path.read_bytes()
        path.write_bytes(b"broken")
        assert "p000002" not in tokens(store_in(tmp_path).load().gallery)
        path.write_bytes(whole)


def test_the_last_one_who_is_forgotten_leaves_no_segment(store, tmp_path):
    gallery = enrolled(store, 1)
    assert store.forget(gallery, "p000000")
    assert files_in(tmp_path) == {"manifest", "manifest.copy"}
    assert store_in(tmp_path).load().gallery.size == 0
    store.enrol(gallery, crowd()[0])
    assert store_in(tmp_path).load().gallery.size == 1


def test_forgetting_someone_unknown_writes_nothing(store, tmp_path):
    gallery = enrolled(store)
    stamp = store.stamp()
    assert not store.forget(gallery, "nobody")
    assert store.stamp() == stamp
    assert not store_in(tmp_path / "new").forget(Gallery(), "nobody")


def test_a_person_whom_only_the_disk_knows_is_forgotten_too(store):
    stale = store.load().gallery
    enrolled(store)
    assert store.forget(stale, "p000002")
    assert "p000002" not in tokens(store.load().gallery)


# --- what is damaged ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_file_that_was_changed_or_cut_is_replaced_by_its_copy(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("gallery")
    enrolled(store_in(folder), 2)
    name = data.draw(st.sampled_from(sorted(files_in(folder))))
    path = folder / "gallery" / name
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    loaded = store_in(folder).load()
    assert loaded.gallery.size == 2
    if name.endswith(".copy"):
        assert loaded.warning is None
    else:
        assert str(path) in loaded.warning
        assert "copy is used" in loaded.warning
        assert "\n" not in loaded.warning
    store_in(folder).tidy()
    assert store_in(folder).load().warning is None
    assert store_in(folder).verify() == ()


@pytest.mark.parametrize("pattern", ["manifest", "own-*.seg"])
def test_a_missing_file_is_replaced_by_its_copy(store, tmp_path, pattern):
    enrolled(store)
    next((tmp_path / "gallery").glob(pattern)).unlink()
    loaded = store_in(tmp_path).load()
    assert loaded.gallery.size == 6
    assert "missing" in loaded.warning
    store_in(tmp_path).tidy()
    assert store_in(tmp_path).load().warning is None


@pytest.mark.parametrize("pattern", ["manifest*", "own-*"])
def test_two_damaged_files_are_never_taken_for_an_empty_gallery(store, tmp_path, pattern):
    enrolled(store)
    for path in (tmp_path / "gallery").glob(pattern):
        path.write_bytes(b"FPMAN\r\n\x1a" + b"\xff" * 60)
    with pytest.raises(GalleryDamaged) as caught:
        store_in(tmp_path).load()
    assert "\n" not in str(caught.value)


def test_every_damaged_file_has_a_line(store, tmp_path):
    enrolled(store)
    own_file(tmp_path).write_bytes(b"broken")
    (line,) = store_in(tmp_path).verify()
    assert str(own_file(tmp_path)) in line
    (tmp_path / "gallery" / "manifest").write_bytes(b"broken")
    assert len(store_in(tmp_path).verify()) == 2


def test_another_key_is_refused_in_one_line(store, tmp_path):
    enrolled(store)
    with pytest.raises(OperatorError) as caught:
        store_in(tmp_path, b"x" * 32).load()
    assert "key" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_newer_format_is_refused_by_name(store, tmp_path):
    enrolled(store)
    for path in (tmp_path / "gallery").glob("manifest*"):
        raw = bytearray(path.read_bytes())
        raw[8] = 2
        path.write_bytes(raw)
    with pytest.raises(GalleryDamaged, match="its format is 2"):
        store_in(tmp_path).load()


def test_a_manifest_longer_than_any_is_not_read(store, tmp_path, monkeypatch):
    enrolled(store)
    monkeypatch.setattr("kiosk.gallery.manifest.MAX_BYTES", 100)
    with pytest.raises(GalleryDamaged, match="larger"):
        store_in(tmp_path).load()


def test_a_segment_longer_than_any_is_not_read(store, tmp_path, monkeypatch):
    enrolled(store)
    monkeypatch.setattr("kiosk.gallery.segment_files.MAX_SEGMENT_BYTES", 100)
    with pytest.raises(GalleryDamaged, match="larger"):
        store_in(tmp_path).load()


def test_segments_can_not_change_places(store, tmp_path, monkeypatch):
    monkeypatch.setattr("kiosk.gallery.rewrite.OWN_PEOPLE", 3)
    enrolled(store)
    first, second = sorted((tmp_path / "gallery").glob("own-*.seg"))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    loaded = store_in(tmp_path).load()
    assert len(loaded.warning.split("; ")) == 2
    assert loaded.gallery.size == 6


# --- an older one put back ------------------------------------------------------------------------------


def kept(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put_back(folder: Path, files: dict[Path, bytes], *, mark: bool) -> None:
    for path in (folder / "gallery").iterdir():
        path.unlink()
    for path, content in files.items():
        if mark or path.name != "gallery.mark":
            path.write_bytes(content)


def test_an_older_gallery_is_refused_because_of_its_mark(store, tmp_path):
    gallery = enrolled(store)
    old = kept(tmp_path)
    store.forget(gallery, "p000002")
    put_back(tmp_path, old, mark=False)
    with pytest.raises(OperatorError, match="older than what this kiosk had") as caught:
        store_in(tmp_path).load()
    assert "nobody enrolled" in str(caught.value)
    with pytest.raises(OperatorError, match="older"):
        store_in(tmp_path).tidy()


def test_without_its_mark_a_gallery_is_refused(store, tmp_path):
    enrolled(store)
    (tmp_path / "gallery.mark").unlink()
    with pytest.raises(OperatorError, match="its mark is missing"):
        store_in(tmp_path).load()


@pytest.mark.parametrize("forged", [b"", b"7", b"1 " + b"0" * 64 + b"\n", b"\xff" * 40])
def test_a_mark_that_another_hand_wrote_is_none(store, tmp_path, forged):
    enrolled(store)
    (tmp_path / "gallery.mark").write_bytes(forged)
    with pytest.raises(OperatorError, match="its mark is missing"):
        store_in(tmp_path).load()


def test_a_gallery_that_was_taken_away_is_not_an_empty_one(store, tmp_path):
    enrolled(store)
    for path in (tmp_path / "gallery").iterdir():
        path.unlink()
    with pytest.raises(OperatorError, match="taken away"):
        store_in(tmp_path).load()


def test_with_its_mark_moved_away_too_the_kiosk_starts_with_nobody(store, tmp_path):
    enrolled(store)
    for path in (*(tmp_path / "gallery").iterdir(), tmp_path / "gallery.mark"):
        path.unlink()
    assert store_in(tmp_path).load().gallery.size == 0


# --- cut off at any moment ------------------------------------------------------------------------------


def full_disk(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_changes_nothing_and_says_so(store, tmp_path, monkeypatch):
    gallery = enrolled(store)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OperatorError, match="can't be written \\(No space"):
            store.enrol(gallery, record("new", people(1, seed=9)["p000000"]))
    assert tokens(gallery) == tokens(store_in(tmp_path).load().gallery) == set(people(6))


def test_what_a_change_wrote_before_the_disk_was_full_does_not_stay_on_it(store, tmp_path, monkeypatch):
    gallery = enrolled(store)
    before = sorted(path.name for path in (tmp_path / "gallery").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OperatorError, match="can't be written"):
            store.enrol(gallery, record("new", people(1, seed=9)["p000000"]))
    assert sorted(path.name for path in (tmp_path / "gallery").iterdir()) == before


def test_a_forgotten_person_is_written_out_when_the_disk_works_again(store, monkeypatch):
    gallery = enrolled(store)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OperatorError, match="can't be written"):
            store.forget(gallery, "p000002")
    assert gallery.payer("p000002") is None
    assert store.forget(gallery, "p000002")
    assert store.load().gallery.payer("p000002") is None


class Killed(BaseException):
    """The process is gone: nothing after this runs."""


def killing(real, steps):
    def call(*args, **kwargs):
        if next(steps, None) is None:
            raise Killed
        return real(*args, **kwargs)

    return call


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, work) -> bool:
    """Whether `work` was done before the process was gone, at the `step`th call that changes the disk."""
    steps = iter(range(step))
    with monkeypatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (os, "open")):
            patch.setattr(owner, name, killing(getattr(owner, name), steps))
        try:
            work()
        except Killed:
            return False
        return True


@pytest.mark.parametrize("step", range(40))
def test_a_kill_at_any_step_leaves_the_old_or_the_new_gallery(store, tmp_path, monkeypatch, step):
    """...and the next start leaves no file with somebody who is not in it."""
    gallery = enrolled(store)
    done = killed_at(step, monkeypatch, lambda: store.forget(gallery, "p000002"))
    fresh = store_in(tmp_path)
    loaded = fresh.load()
    held = "p000002" in tokens(loaded.gallery)
    assert loaded.warning is None
    assert loaded.gallery.size == (6 if held else 5)
    assert not (done and held)
    assert done or step < 39
    fresh.tidy()
    assert len(files_in(tmp_path)) == 4
    assert fresh.verify() == ()
    assert ("p000002" in tokens(store_in(tmp_path).load().gallery)) == held


@pytest.mark.parametrize("step", range(40))
def test_a_kill_at_the_very_first_enrolment_leaves_one_or_nobody(tmp_path, monkeypatch, step):
    store = store_in(tmp_path)
    gallery = store.load().gallery
    done = killed_at(step, monkeypatch, lambda: store.enrol(gallery, crowd(1)[0]))
    assert done or step < 39
    assert store_in(tmp_path).load().gallery.size in ((1,) if done else (0, 1))
    again = store_in(tmp_path)
    again.enrol(again.load().gallery, crowd(2)[1])
    assert store_in(tmp_path).load().warning is None


@pytest.mark.timeout(60)
def test_a_process_that_is_killed_while_it_changes_leaves_a_whole_gallery(store, tmp_path):
    gallery = enrolled(store)
    chance = random.Random(5)
    for _ in range(25):
        child = os.fork()
        if not child:
            while True:
                store.forget(gallery, "p000002")
                store.enrol(gallery, crowd(3)[2])
        time.sleep(chance.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded = store_in(tmp_path).load()
        assert loaded.warning is None
        assert tokens(loaded.gallery) | {"p000002"} == set(people(6))
        store, gallery = store_in(tmp_path), loaded.gallery
    store.tidy()
    assert len(files_in(tmp_path)) == 4


# --- several at a time ----------------------------------------------------------------------------------


def test_a_change_by_another_process_is_noticed_once_and_not_ones_own(store, tmp_path):
    gallery = enrolled(store)
    store.in_step(store.stamp())
    store.enrol(gallery, record("new", people(1, seed=9)["p000000"]))
    assert not store.changed_elsewhere()
    other = store_in(tmp_path)
    other.forget(other.load().gallery, "new")
    assert store.changed_elsewhere()
    store.in_step(store.stamp())
    assert not store.changed_elsewhere()


def test_ones_own_change_does_not_hide_that_of_another_process(store, tmp_path):
    enrolled(store)
    store.in_step(store.stamp())
    store_in(tmp_path).delete(frozenset({"p000001"}))
    store.delete(frozenset({"p000002"}))
    assert store.changed_elsewhere()


def test_nothing_is_said_to_have_changed_while_a_thread_of_this_process_changes_it(store, tmp_path):
    enrolled(store)
    store_in(tmp_path).delete(frozenset({"p000001"}))
    inside, go_on = threading.Event(), threading.Event()

    def change() -> None:
        with store.alone():
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=change)
    thread.start()
    inside.wait(10)
    assert not store.changed_elsewhere()
    go_on.set()
    thread.join()
    assert store.changed_elsewhere()


def test_a_load_begins_anew_when_the_gallery_changes_under_it(store, tmp_path, monkeypatch):
    enrolled(store)
    reader = store_in(tmp_path)
    real, once = reader._manifest.read, iter([True])

    def read():
        found = real()
        if next(once, False):
            store.delete(frozenset({"p000001"}))
        return found

    monkeypatch.setattr(reader._manifest, "read", read)
    assert tokens(reader.load().gallery) == set(people(6)) - {"p000001"}


def test_a_gallery_that_changes_all_the_time_is_not_loaded(store, tmp_path, monkeypatch):
    enrolled(store)
    reader, left = store_in(tmp_path), iter(range(100))
    real = reader._manifest.read

    def read():
        found = real()
        gallery = store.load().gallery
        store.enrol(gallery, record(f"more{next(left)}", people(1, seed=9)["p000000"]))
        return found

    monkeypatch.setattr(reader._manifest, "read", read)
    with pytest.raises(OperatorError, match="changes all the time"):
        reader.load()


def test_a_folder_that_may_not_be_read_is_said(store, tmp_path, monkeypatch):
    enrolled(store)
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(OperatorError, match=r"can(no|')t be read \(Permission denied\)"):
        GalleryStore(tmp_path / "gallery", Key()).load()
