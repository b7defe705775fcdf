"""A person joins by consent, is known there and here, nobody twice, and is gone when they ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kiosk.app.wiring import open_base
from kiosk.domain.consent import LANGUAGES
from kiosk.domain.staff import Role
from kiosk.gallery.template import Reference, Template

from ..sandbox.conftest import Running, running
from .conftest import DEMO, PAYER, Kiosk, Ran

FACE = DEMO / "enrol" / PAYER
OTHER = next(path for path in sorted((DEMO / "enrol").iterdir()) if path.name != PAYER)
PIN = "193750"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("office")) as started:
        yield started


def enrol(kiosk: Kiosk, folder: Path, *more: str, face: Path = FACE) -> Ran:
    return kiosk("enrol", "--camera", face, "--account", "wallet-1", "--data-dir", folder, *more)


AGREED = ("--agreed", "v1", "--of-age")


def test_who_enrols_is_known_on_both_sides_once_and_gone_when_they_withdraw(
    kiosk: Kiosk, office: Running
) -> None:
    office.misbehave("drop-answer")  # the first answer is lost: it is still one enrolment
    told = json.loads(enrol(kiosk, office.folder, *AGREED, "--digits", "4821", "--json").out)
    assert (told["result"], told["consent_text"]) == ("enrolled", "v1/en")
    again = enrol(kiosk, office.folder, *AGREED, "--json")
    assert (again.code, json.loads(again.out)["result"], json.loads(again.out)["payer"]) == (
        10, "duplicate", None,
    )  # fmt: skip
    shown = json.loads(kiosk("payers", "show", told["payer"], "--data-dir", office.folder, "--json").out)
    assert (shown["state"], shown["enrolled_here"]) == ("active", True)
    assert (shown["consent_ref"], "template" in shown["held"]) == (told["consent_ref"], True)
    asked = kiosk("payers", "identify", "--camera", FACE, "--data-dir", office.folder, "--json")
    assert json.loads(asked.out)["payer"] == told["payer"]
    left = json.loads(kiosk("forget", "--payer", told["payer"], "--data-dir", office.folder, "--json").out)
    assert left == {"payer": told["payer"], "forgotten": True, "confirmed": True, "enrolled": 0}
    gone = json.loads(kiosk("payers", "show", told["payer"], "--data-dir", office.folder, "--json").out)
    assert (gone["state"], gone["enrolled_here"], "template" in gone["held"]) == ("withdrawn", False, False)
    assert kiosk("payers", "identify", "--camera", FACE, "--data-dir", office.folder).code == 10


def test_the_acquirer_too_refuses_a_face_that_it_has_and_it_is_explained(
    kiosk: Kiosk, office: Running
) -> None:
    told = json.loads(enrol(kiosk, office.folder, *AGREED, "--json", face=OTHER).out)
    with open_base(office.folder, None) as base:
        base.forget(told["payer"])  # another kiosk, that does not hold this person
    ran = enrol(kiosk, office.folder, *AGREED, face=OTHER)
    assert (ran.code, "under another payer" in ran.err, ran.err.count("\n")) == (10, True, 1)
    assert kiosk("forget", "--payer", told["payer"], "--data-dir", office.folder).code == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "--agreed"),
        (("--of-age",), "--agreed"),
        (("--agreed", "v1"), "--of-age"),
        (("--agreed", "v1", "--of-age", "--guardian"), "--guardian"),
        (("--agreed", "v1", "--guardian"), "a manager who sees child and guardian"),
        (
            ("--agreed", "v1", "--guardian", "--staff", "7", "--pin-file", "/dev/null"),
            "nobody is staff here yet",
        ),
        (("--agreed", "v1", "--of-age", "--language", "fr"), "no consent text in 'fr'"),
        (("--agreed", "v1", "--of-age", "--name", "Ming"), "--name without --payer"),
        (("--payer", "tok", "--guardian"), "--payer with --agreed"),
        (("--agreed", "v9", "--of-age"), "the text is v1 now"),
    ],
)
def test_without_a_whole_consent_nobody_is_looked_at(
    kiosk: Kiosk, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    ran = enrol(kiosk, tmp_path, *options, face=tmp_path / "no such camera")
    assert (ran.code, told in ran.err, ran.err.count("\n")) == (2, True, 1), ran.err


def test_who_is_to_be_enrolled_is_asked_for(kiosk: Kiosk, tmp_path: Path) -> None:
    ran = kiosk("enrol", "--camera", FACE, "--data-dir", tmp_path)
    assert (ran.code, "neither --payer nor --account" in ran.err) == (2, True)


def test_a_child_enrols_with_a_guardian_whom_a_manager_saw(
    kiosk: Kiosk, office: Running, tmp_path: Path
) -> None:
    (tmp_path / "pin").write_text(PIN)
    with open_base(office.folder, None) as base:
        base.staff.add(7, Role.MANAGER, PIN)
        base.staff.add(8, Role.CASHIER, PIN, by=7)
    child = ("--agreed", "v1", "--guardian", "--pin-file", str(tmp_path / "pin"))
    assert "wants a manager" in enrol(kiosk, office.folder, *child, "--staff", "8", face=OTHER).err
    ran = enrol(kiosk, office.folder, *child, "--staff", "7", "--language", "ar", "--json", face=OTHER)
    told = json.loads(ran.out)
    assert (told["result"], told["consent_text"]) == ("enrolled", "v1/ar")
    with open_base(office.folder, None) as base:
        record = base.gallery.payer(told["payer"])
        assert record is not None
        assert (record.by_guardian, record.consent_text) == (True, "v1/ar")
        noted = [entry for entry in base.audit.entries() if entry.what in ("child", "enrol")][-2:]
        assert [(entry.what, entry.staff) for entry in noted] == [("child", "7"), ("enrol", "")]
        assert told["payer"] not in (office.folder / "audit.jsonl").read_text()
    assert kiosk("forget", "--payer", told["payer"], "--data-dir", office.folder).code == 0


def test_without_the_acquirer_nobody_is_looked_at_or_enrolled(kiosk: Kiosk, tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    ran = enrol(kiosk, tmp_path, *AGREED, face=tmp_path / "no such camera")
    assert (ran.code, "does not answer" in ran.err) == (14, True)


def test_a_face_is_not_enrolled_under_a_second_token_and_may_be_anew_under_its_own(
    kiosk: Kiosk, data_dir: Path
) -> None:
    known = ("enrol", "--camera", FACE, "--data-dir", data_dir, "--payer")
    assert kiosk(*known, "pyr-one").code == 0
    ran = kiosk(*known, "pyr-two")
    assert (ran.code, ran.err.count("\n")) == (10, 1)
    assert "enrolled already, under another payer" in ran.err
    assert "pyr-one" not in ran.err
    assert json.loads(kiosk(*known, "pyr-two", "--json").out)["result"] == "duplicate"
    assert kiosk(*known, "pyr-one").out == "enrolled pyr-one from 1 look; 1 enrolled here\n"
    assert kiosk("forget", "--payer", "pyr-one", "--data-dir", data_dir).code == 0
    assert kiosk(*known, "pyr-two").code == 0


def test_where_everybody_is_challenged_a_picture_enrols_nobody(kiosk: Kiosk, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "kiosk.toml").write_text('[vision]\nchallenge = "always"\n')
    ran = kiosk("enrol", "--camera", FACE, "--data-dir", data_dir, "--payer", "pyr-one")
    assert (ran.code, "unsure" in ran.err) == (12, True)


def test_who_withdrew_is_not_enrolled_again_before_the_acquirer_has_heard(
    kiosk: Kiosk, data_dir: Path
) -> None:
    known = ("enrol", "--camera", FACE, "--data-dir", data_dir, "--payer", "pyr-one")
    assert kiosk(*known).code == 0
    left = kiosk("forget", "--payer", "pyr-one", "--data-dir", data_dir)
    assert (left.code, left.out) == (0, "forgot pyr-one; 0 enrolled here\n")
    assert "is told that pyr-one withdrew when it can be reached (no acquirer is set up here)" in left.err
    ran = kiosk(*known)
    assert (ran.code, "has withdrawn" in ran.err) == (2, True)


# --- the text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_is_shown_with_who_receives_the_template_and_for_how_long(
    kiosk: Kiosk, office: Running, language: str
) -> None:
    show = ("consent", "show", "--language", language, "--keep-days", "41", "--data-dir", office.folder)
    told = json.loads(kiosk(*show, "--json").out)
    body = "".join(section["body"] for section in told["sections"])
    with open_base(office.folder, None) as base:
        policy = base.stored_policy()
        assert policy is not None
        assert policy.provider in body
        assert base.config.store.payee in body
    assert "41" in body
    assert told["versions"] == ["v1"]
    shown = kiosk(*show).out
    assert all(section["body"] in shown for section in told["sections"])


def test_where_the_law_lets_nobody_pay_by_face_nobody_is_enrolled(kiosk: Kiosk, tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    policy = {"face_allowed": False, "law_note": "Closed by law until June."}
    (tmp_path / "sandbox" / "policy.json").write_text(json.dumps(policy))
    with running(tmp_path):
        ran = enrol(kiosk, tmp_path, *AGREED, face=tmp_path / "no such camera")
    assert (ran.code, "Closed by law until June." in ran.err) == (2, True), ran.err


def test_whose_consent_is_over_is_recognised_by_no_payment(kiosk: Kiosk, office: Running) -> None:
    known = ("enrol", "--camera", FACE, "--payer", PAYER, "--data-dir", office.folder)
    assert kiosk(*known).code == 0
    with open_base(office.folder, None) as base:
        record = base.gallery.payer(PAYER)
        assert record is not None
        plain = base.gallery.epoch.turn_back(record.vectors())[0]
        over = replace(
            record,
            references=(Reference(Template.of(plain), record.model_id),),
            enrolled_at_s=record.enrolled_at_s - 9,
            keep_until_s=record.enrolled_at_s - 1,
        )
        base.enrol(over)
    probe = DEMO / "probe" / f"{PAYER}.jpg"
    ran = kiosk("pay", "--camera", probe, "--amount", "38.50", "--data-dir", office.folder)
    assert (ran.code, "nobody is enrolled here" in ran.err) == (11, True), ran.err
    with open_base(office.folder, None) as base:
        assert base.gallery.size == 0


def test_a_text_that_is_not_there_is_refused_with_what_is(kiosk: Kiosk, office: Running) -> None:
    ran = kiosk("consent", "show", "--version", "v9", "--data-dir", office.folder)
    assert (ran.code, "There is v1" in ran.err) == (2, True)


def test_a_text_that_can_t_name_its_provider_is_not_shown(kiosk: Kiosk, tmp_path: Path) -> None:
    ran = kiosk("consent", "show", "--data-dir", tmp_path)
    assert (ran.code, "who receives a template" in ran.err) == (2, True)
