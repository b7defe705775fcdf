"""From enrolments to what a kiosk fetches: sealed, turned, stable, and without those who went."""

from __future__ import annotations

import contextlib
import json
import math

import msgspec
import numpy as np
import pytest

from kiosk.acquirer.messages import encode, utc
from kiosk.acquirer.operations import ConsentMessage, WishesMessage
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import NO_LIMITS, Limits
from kiosk.gallery.segment import Place, SegmentError, open_segment
from kiosk.sandbox import publisher as publishing
from kiosk.sandbox import repository as signing
from kiosk.sandbox.epochs import Epochs
from kiosk.sandbox.ledger import Ledger, Person
from kiosk.sandbox.publisher import TOMBSTONE_S, Publisher
from kiosk.sandbox.repository import Repository
from kiosk.sandbox.templates import Templates

DAY_S = 86_400


class Office:
    """An acquirer's books and its publisher, without a server."""

    def __init__(self, folder, clock):
        self.folder, self.clock = folder / "sandbox", clock
        self.folder.mkdir()
        self.assets = folder / "assets"
        (self.assets / "models").mkdir(parents=True)
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        self.templates = Templates(self.folder)
        self.publisher = self.another()
        self.publisher.create("north")
        self.faces = {}

    def another(self, **more):
        return Publisher(self.folder, self.ledger, self.clock, assets=self.assets, **more)

    def enrol(
        self, token, *, references=1, size=192, days=365, model="net-1", account="wallet-ming", wishes=None
    ):
        faces = np.random.default_rng(len(self.faces)).normal(size=(references, size)).astype(np.float32)
        faces /= np.linalg.norm(faces, axis=1, keepdims=True)
        self.faces[token] = faces
        now = self.clock.utc_s()
        consent = ConsentMessage(
            text_version="v1", text_sha256=GENESIS, language="ar", scope=("pay",), given_at=utc(now),
            keep_until=utc(now + days * DAY_S), of_age=True,
        )  # fmt: skip
        sealed = self.templates.seal(token, faces)
        given = wishes and self.templates.seal_bytes(token, encode(wishes))
        with self.ledger.transaction():
            self.ledger.enrol(
                Person(token, now, account, f"c-{token}", encode(consent), model, sealed, None, given)
            )

    def withdraw(self, token):
        with self.ledger.transaction():
            self.ledger.withdraw(token, self.clock.utc_s())

    @property
    def epoch(self):
        return Epochs(self.folder).all()[0]

    def listed(self, lane="gallery"):
        return self.publisher.repository.state().listed(lane)

    def tombstones(self):
        (target,) = self.listed("tombstones").values()
        return json.loads(self.publisher.repository.content(target))

    def segment(self, path):
        """The records of a published segment, as a kiosk opens them."""
        target = self.listed()[path]
        place = Place(path.split("/")[1], int(path.split("/")[2].split(".")[0]), target.custom["version"])
        content = self.publisher.repository.content(target)
        return open_segment(self.epoch.key("segment"), place, content)

    def everybody(self):
        return {record.token: record for path in self.listed() for record in self.segment(path)}


@pytest.fixture
def office(tmp_path, clock):
    made = Office(tmp_path, clock)
    yield made
    made.ledger.close()


def test_who_enrols_is_published_turned_and_sealed_with_what_a_kiosk_needs_to_know(office):
    office.enrol("pyr-lan", references=3)
    assert office.publisher.publish()
    (path,) = office.listed()
    assert path == f"gallery/{office.epoch.id}/1.seg"
    assert office.listed()[path].custom == {
        "region": "north", "epoch": 1, "version": 1, "people": 1, "model_id": "net-1", "references": 3,
    }  # fmt: skip
    (record,) = office.segment(path)
    assert (record.token, record.consent_ref, record.consent_text) == ("pyr-lan", "c-pyr-lan", "v1/ar")
    assert (record.masked_name, record.masked_account, record.digits) == ("*g", "*-lan", "")
    assert (record.enrolled_at_s, record.by_guardian) == (int(office.clock.utc_s()), False)
    assert record.keep_until_s == math.ceil(office.clock.utc_s() + 365 * DAY_S)
    np.testing.assert_allclose(office.epoch.turn_back(record.vectors()), office.faces["pyr-lan"], atol=1e-5)
    assert np.max(np.abs(record.vectors() - office.faces["pyr-lan"])) > 0.05
    assert not office.publisher.publish()


def test_digits_and_own_caps_go_with_the_person_to_every_kiosk(office):
    office.enrol("pyr-1", wishes=WishesMessage(digits="4821", per_person_day=20_000))
    office.enrol("pyr-2")
    office.publisher.publish()
    (path,) = office.listed()
    one, two = sorted(office.segment(path), key=lambda record: record.token)
    assert (one.digits, one.limits) == ("4821", Limits(per_person_day=20_000))
    assert (two.digits, two.limits) == ("", NO_LIMITS)


def test_nothing_of_a_template_is_published_in_the_clear(office):
    office.enrol("pyr-lan")
    office.publisher.publish()
    plain = office.faces["pyr-lan"].astype("<f4")
    turned = office.epoch.turn(plain)
    for path in office.publisher.repository.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert plain.tobytes()[:16] not in content
            assert turned.astype("<f4").tobytes()[:16] not in content
            assert b"pyr-lan" not in content


def test_who_withdraws_is_told_of_first_and_is_in_no_segment(office, monkeypatch):
    office.enrol("pyr-lan")
    office.enrol("pyr-ming")
    office.publisher.publish()
    office.withdraw("pyr-lan")
    releases = []
    release = office.publisher.repository.release
    monkeypatch.setattr(
        office.publisher.repository, "release", lambda change=None: releases.append(change) or release(change)
    )
    assert office.publisher.publish_people()
    assert [list(change) for change in releases] == [["tombstones"], ["gallery"]]
    assert set(office.everybody()) == {"pyr-ming"}
    told = office.tombstones()
    assert (told["version"], [one["token"] for one in told["tokens"]]) == (2, ["pyr-lan"])
    assert utc(int(office.clock.utc_s())) == msgspec.convert(
        told["tokens"][0]["at"], type(utc(0)), strict=False
    )


def test_a_segment_that_everybody_left_is_dropped_and_comes_back_with_a_later_version(office):
    office.enrol("pyr-lan")
    office.publisher.publish()
    office.withdraw("pyr-lan")
    office.publisher.publish()
    assert office.listed() == {}
    office.enrol("pyr-new")
    office.publisher.publish()
    (target,) = office.listed().values()
    assert target.custom["version"] == 3


def test_one_change_among_many_people_writes_one_segment(office, monkeypatch):
    monkeypatch.setattr(publishing, "SEGMENT_PEOPLE", 5)
    for number in range(23):
        office.enrol(f"pyr-{number}")
    office.publisher.publish()
    before = office.listed()
    assert sorted(target.custom["people"] for target in before.values()) == [3, 5, 5, 5, 5]
    office.withdraw("pyr-7")
    office.publisher.publish()
    after = office.listed()
    assert before.keys() == after.keys()
    assert sum(before[path] != after[path] for path in before) == 1
    office.enrol("pyr-new")
    office.publisher.publish()
    assert sum(office.listed()[path] != after[path] for path in after) == 1


def test_people_of_two_networks_stand_in_segments_of_their_own(office):
    office.enrol("pyr-lan")
    office.enrol("pyr-ming", model="net-2")
    office.enrol("pyr-small", size=128, model="net-3")
    office.publisher.publish()
    assert sorted(target.custom["model_id"] for target in office.listed().values()) == ["net-1", "net-2"]
    assert office.publisher.published().waiting == 0


def test_a_consent_that_ends_by_itself_is_told_as_a_withdrawal_and_its_template_is_gone(office, clock):
    office.enrol("pyr-lan", days=1)
    office.enrol("pyr-ming")
    office.publisher.publish()
    clock.advance((DAY_S + 1) * 1000)
    office.publisher.publish_people()
    assert set(office.everybody()) == {"pyr-ming"}
    assert [one["token"] for one in office.tombstones()["tokens"]] == ["pyr-lan"]
    assert office.ledger.person("pyr-lan").template is None


def test_after_ninety_days_a_withdrawal_is_told_no_more(office, clock):
    office.enrol("pyr-lan")
    office.withdraw("pyr-lan")
    office.publisher.publish()
    clock.advance((TOMBSTONE_S + 1) * 1000)
    office.publisher.publish()
    assert office.tombstones() == {"version": 2, "tokens": []}


def test_a_new_epoch_replaces_every_segment_in_one_release_and_links_to_nothing_before(office, monkeypatch):
    monkeypatch.setattr(publishing, "SEGMENT_PEOPLE", 1)
    monkeypatch.setattr(publishing, "AT_ONCE", 1)
    for number in range(3):
        office.enrol(f"pyr-{number}")
    office.publisher.publish()
    before, versions = office.everybody(), office.publisher.repository.state().roles["gallery"].signed.version
    first = office.epoch
    renewed = office.publisher.renew_epoch()
    assert (renewed.number, renewed.id != first.id) == (2, True)
    assert office.publisher.repository.state().roles["gallery"].signed.version == versions + 1
    after = office.everybody()
    assert before.keys() == after.keys()
    for token, record in after.items():
        assert abs(float(record.vectors()[0] @ before[token].vectors()[0])) < 0.4
    assert all(path.startswith(f"gallery/{renewed.id}/") for path in office.listed())


def test_a_segment_of_one_place_does_not_open_in_another(office):
    office.enrol("pyr-lan")
    office.publisher.publish()
    (path,) = office.listed()
    content = office.publisher.repository.content(office.listed()[path])
    for place in (Place(office.epoch.id, 2, 1), Place(office.epoch.id, 1, 2), Place("0" * 16, 1, 1)):
        with pytest.raises(SegmentError):
            open_segment(office.epoch.key("segment"), place, content)


def test_a_publication_that_is_told_to_stop_releases_what_is_done_and_goes_on_later(office, monkeypatch):
    monkeypatch.setattr(publishing, "SEGMENT_PEOPLE", 1)
    for number in range(4):
        office.enrol(f"pyr-{number}")
    office.another(stopping=lambda: True).publish_people()
    assert len(office.listed()) == 1
    office.publisher.publish_people()
    assert len(office.everybody()) == 4


def test_a_new_epoch_that_is_told_to_stop_leaves_the_old_one_whole(office, monkeypatch):
    monkeypatch.setattr(publishing, "SEGMENT_PEOPLE", 1)
    for number in range(3):
        office.enrol(f"pyr-{number}")
    office.publisher.publish()
    before = office.listed()
    office.another(stopping=lambda: True).renew_epoch()
    assert office.another().repository.state().listed("gallery") == before
    office.publisher.publish_people()
    assert len(office.everybody()) == 3
    assert not before.keys() & office.listed().keys()


def test_cut_off_at_any_write_what_is_out_is_the_state_before_or_after_and_the_next_publication_mends_it(
    office, monkeypatch, tmp_path
):
    monkeypatch.setattr(publishing, "SEGMENT_PEOPLE", 2)
    real, left = signing.write, [0]

    def write(path, content):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(path, content)

    for number in range(3):
        office.enrol(f"pyr-{number}")
    office.publisher.publish()
    gone, cuts = set(), 0
    while left[0] == 0:
        before = set(office.everybody())
        office.enrol(f"pyr-new-{cuts}")
        office.withdraw(f"pyr-{cuts}" if cuts < 3 else f"pyr-new-{cuts - 3}")
        gone.add(f"pyr-{cuts}" if cuts < 3 else f"pyr-new-{cuts - 3}")
        after = before - gone | {f"pyr-new-{cuts}"}
        cuts += 1
        with monkeypatch.context() as patch:
            patch.setattr(signing, "write", write)
            left[0] = cuts - 1
            with contextlib.suppress(KeyboardInterrupt):
                office.publisher.publish_people()
        office.publisher.repository = Repository(office.folder, office.clock.utc_s)  # as after a restart
        seen = set(office.everybody())
        assert seen in (before, after)
        assert seen == before or gone <= {one["token"] for one in office.tombstones()["tokens"]}
        office.publisher.publish_people()
        assert set(office.everybody()) == after
    assert cuts > 8


def test_people_of_before_the_repository_are_published_too(tmp_path, clock):
    folder = tmp_path / "sandbox"
    folder.mkdir()
    ledger = Ledger(folder / "ledger.sqlite")
    sealed = Templates(folder).seal("pyr-old", np.eye(192, dtype=np.float32)[0])
    consent = ConsentMessage(
        text_version="v1", text_sha256=GENESIS, language="en", scope=("pay",), given_at=utc(0),
        keep_until=utc(clock.utc_s() + 9), of_age=True,
    )  # fmt: skip
    with ledger.transaction():
        ledger.enrol(Person("pyr-old", 0, "\u200b", "c", encode(consent), "net-1", sealed, None))
        ledger._db.execute("DELETE FROM unplaced")
    publisher = Publisher(folder, ledger, clock, assets=tmp_path)
    assert publisher.create()
    assert not publisher.create()
    publisher.publish()
    assert publisher.published().people == 1
    ledger.close()


def test_consent_texts_are_published_as_they_lie_there_and_the_acquirer_s_own_go_before(office):
    for folder, text in ((office.assets, "ours"), (office.folder, "theirs")):
        (folder / "consent" / "v1").mkdir(parents=True)
        (folder / "consent" / "v1" / "en.json").write_text(text)
    (office.assets / "consent" / "v1" / "ar.json").write_text("ours")
    office.publisher.publish()
    texts = {
        path: office.publisher.repository.content(target) for path, target in office.listed("texts").items()
    }
    assert texts == {"consent/v1/ar.json": b"ours", "consent/v1/en.json": b"theirs"}
    (office.assets / "consent" / "v1" / "ar.json").unlink()
    office.publisher.publish()
    assert list(office.listed("texts")) == ["consent/v1/en.json"]


def test_networks_are_published_by_their_cards_and_whole_where_that_is_wanted(office):
    folder = office.assets / "models"
    card = {"id": "net-1", "file": "net.tflite", "licence": "MIT"}
    (folder / "manifest.json").write_text(json.dumps({"models": [card, card | {"id": "net-2", "file": "x"}]}))
    (folder / "net.tflite").write_bytes(b"weights")
    office.publisher.publish()
    assert set(office.listed("models")) == {"models/net-1.json", "models/net-2.json"}
    assert (
        json.loads(office.publisher.repository.content(office.listed("models")["models/net-1.json"])) == card
    )
    office.publisher.publish(model_files=True)
    office.publisher.publish()
    assert office.listed("models")["models/net.tflite"].custom == {"id": "net-1"}
    office.publisher.publish(model_files=False)
    assert "models/net.tflite" not in office.listed("models")


def test_where_nothing_was_begun_it_is_said(tmp_path, clock):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    publisher = Publisher(tmp_path, ledger, clock)
    for call in (publisher.publish, publisher.publish_people, publisher.published):
        with pytest.raises(OperatorError, match="repository init"):
            call()
    ledger.close()


def test_a_template_that_does_not_open_stops_the_publication_and_says_whose(office):
    office.enrol("pyr-lan")
    (office.folder / "people.key").write_bytes(bytes(32))
    with pytest.raises(OperatorError, match=r"pyr-lan.*people\.key"):
        office.another().publish()
