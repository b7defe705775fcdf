"""The gallery in memory follows the disk, and an older one that was put back is found out."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kiosk.acquirer.journal import Journal
from kiosk.app.config import Config, GalleryConfig
from kiosk.app.health_gallery import gallery_found
from kiosk.app.people import EnrolledPeople
from kiosk.app.wiring import Base
from kiosk.domain.errors import OperatorError
from kiosk.gallery.change import Change, NewSegment
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.turning import turned

from ..acquirer.journals import APPROVED, TODAY, opened_attempt
from ..acquirer.parts import a_payment, an_effect
from .test_people import enrolled, forgotten, record, unit

REGION = Epoch("CN-31", 1, b"1" * 32)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    enrolled(tmp_path, "ming", "li")
    return Base(tmp_path, Config())


def paid_with(base: Base, version: int, *, at_s: float | None = None) -> None:
    effect = an_effect()
    evidence = replace(effect.evidence, gallery_version=version)
    with Journal(
        base.data_dir / "journal.sqlite", now=lambda: time.time() if at_s is None else at_s
    ) as journal:
        opened_attempt(journal, replace(effect, evidence=evidence))
        journal.conclude(effect.ref, APPROVED)


def check(base: Base) -> None:
    with Journal(base.data_dir / "journal.sqlite", read_only=True) as journal:
        base.enrolled.check_follows(journal)


def test_a_gallery_as_new_as_the_payments_is_let_in(base):
    paid_with(base, 2)
    check(base)


def test_a_whole_folder_that_was_put_back_without_its_payments_is_found_out(base):
    kept = base.data_dir / "kept"
    shutil.copytree(base.data_dir / "gallery", kept / "gallery")
    shutil.copy(base.data_dir / "gallery.mark", kept)
    forgotten(base.data_dir, "ming")
    paid_with(base, 3)
    shutil.rmtree(base.data_dir / "gallery")
    shutil.copytree(kept / "gallery", base.data_dir / "gallery")
    shutil.copy(kept / "gallery.mark", base.data_dir)
    fresh = Base(base.data_dir, Config())
    assert fresh.gallery.size == 2
    with pytest.raises(OperatorError, match=r"older than the payments \(version 2, they had 3\)") as caught:
        check(fresh)
    assert "\n" not in str(caught.value)
    with pytest.raises(OperatorError, match="older than the payments"):
        gallery_found(fresh)


def test_a_gallery_that_was_begun_anew_is_not_held_against_payments_before_it(base):
    paid_with(base, 700, at_s=1_600_000_000.0)
    check(base)


def test_a_payment_whose_request_can_t_be_read_tells_nothing(base):
    effect = an_effect()
    with Journal(base.data_dir / "journal.sqlite") as journal:
        frozen = a_payment(effect, sequence=journal.next_sequence())
        journal.open_attempt(effect, replace(frozen, body=b"{}"), day=TODAY)
    check(base)


def test_nobody_enrolled_is_older_than_nothing(tmp_path):
    base = Base(tmp_path, Config())
    paid_with(base, 7)
    check(base)


# --- a sync beside the search ---------------------------------------------------------------------------


def published(base: Base, *tokens: str) -> Change:
    def records() -> list:
        return [turned(record(base, token, 40 + number), REGION) for number, token in enumerate(tokens)]

    return Change(put=(NewSegment(0, 1, "0" * 64, "gallery/0.seg", records),), epoch=REGION)


def test_a_sync_is_no_change_elsewhere_and_its_gallery_is_taken(base):
    people = EnrolledPeople(base.gallery, base.changed_gallery)
    gallery = base.enrolled.store.apply(published(base, "wang"))
    assert base.changed_gallery() is None
    assert base.enrolled.take(gallery)
    people.take(gallery)
    assert people.search(unit(40), None)[0].token == "wang"
    assert people.search(unit(0), None)[0].token == "ming"
    assert base.gallery is gallery


def test_a_synced_gallery_that_still_has_somebody_who_went_meanwhile_is_not_taken(base):
    people = EnrolledPeople(base.gallery, base.changed_gallery)
    gallery = base.enrolled.store.apply(published(base, "wang"))
    forgotten(base.data_dir, "ming")
    assert not base.enrolled.take(gallery)
    assert gallery.size == 0
    assert {found.token for found in people.search(unit(40), None)} == {"wang", "li"}


def test_whoever_is_enrolled_is_overwritten_in_what_the_caller_holds(base):
    raw = record(base, "wang", 7)
    base.enrol(raw)
    assert raw.references[0].template.wiped
    assert EnrolledPeople(base.gallery).search(unit(7), None)[0].token == "wang"


def test_a_gallery_of_another_network_is_refused(base, monkeypatch):
    monkeypatch.setattr(Base, "embedding_id", lambda self: "another-1")
    with pytest.raises(OperatorError, match="Enrol everybody again"):
        _ = Base(base.data_dir, Config()).gallery


# --- the self-test --------------------------------------------------------------------------------------


def test_a_whole_gallery_is_green_and_says_whose_epoch_it_is_in(base):
    status, detail, action = gallery_found(base)
    assert (status, action) == ("green", "")
    assert detail == "2 enrolled, version 2, local epoch 1"
    base.enrolled.store.apply(published(base, "wang"))
    assert gallery_found(base)[1] == "3 enrolled (2 here), version 3, CN-31 epoch 1"


def test_nobody_enrolled_is_amber(tmp_path):
    assert gallery_found(Base(tmp_path, Config()))[:2] == ("amber", "nobody is enrolled")


def test_a_damaged_segment_is_amber_and_named(base):
    (file,) = (base.data_dir / "gallery").glob("own-*.seg")
    file.write_bytes(b"broken")
    (base.data_dir / "gallery" / "manifest").write_bytes(b"broken")
    status, detail, action = gallery_found(base)
    assert status == "amber"
    assert "and 1 more; 2 enrolled" in detail
    assert "next start mends" in action
    base.enrolled.store.tidy()
    assert gallery_found(base)[0] == "green"


def test_people_of_whom_no_file_is_good_are_red_and_not_called_nobody(base):
    for file in (base.data_dir / "gallery").glob("own-*"):
        file.write_bytes(b"broken")
    status, detail, action = gallery_found(base)
    assert status == "red"
    assert "can't be read: 2" in detail
    assert "backup" in action


def test_an_older_gallery_is_refused_by_the_self_test(base):
    kept = {path: path.read_bytes() for path in (base.data_dir / "gallery").iterdir()}
    forgotten(base.data_dir, "ming")
    shutil.rmtree(base.data_dir / "gallery")
    (base.data_dir / "gallery").mkdir()
    for path, content in kept.items():
        path.write_bytes(content)
    with pytest.raises(OperatorError, match="older than what this kiosk had"):
        gallery_found(base)


def test_from_so_many_references_on_it_warns(base):
    config = Config(gallery=GalleryConfig(warn_at_references=2))
    status, detail, action = gallery_found(Base(base.data_dir, config))
    assert status == "amber"
    assert "from 2 on" in detail
    assert "docs/privacy.md" in action
