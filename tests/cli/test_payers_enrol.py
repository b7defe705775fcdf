"""A person joins at the acquirer from this kiosk, is known there and here, and is gone when they withdraw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..sandbox.conftest import Running, running
from .conftest import DEMO, PAYER, Kiosk, Ran

FACE = DEMO / "enrol" / PAYER


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("office")) as started:
        yield started


def enrol(kiosk: Kiosk, folder: Path, *more: str) -> Ran:
    return kiosk("payers", "enrol", "--camera", FACE, "--account", "wallet-1", "--data-dir", folder, *more)


def test_who_enrols_is_known_on_both_sides_once_and_gone_when_they_withdraw(
    kiosk: Kiosk, office: Running
) -> None:
    office.misbehave("drop-answer")  # the first answer is lost: it is still one enrolment
    told = json.loads(enrol(kiosk, office.folder, "--of-age", "--digits", "4821", "--json").out)
    assert told["result"] == "enrolled"
    again = json.loads(enrol(kiosk, office.folder, "--of-age", "--json").out)
    assert (again["result"], again["payer"]) == ("duplicate", None)
    shown = json.loads(kiosk("payers", "show", told["payer"], "--data-dir", office.folder, "--json").out)
    assert (shown["state"], shown["enrolled_here"]) == ("active", True)
    assert (shown["consent_ref"], "template" in shown["held"]) == (told["consent_ref"], True)
    asked = kiosk("payers", "identify", "--camera", FACE, "--data-dir", office.folder, "--json")
    assert json.loads(asked.out)["payer"] == told["payer"]
    assert kiosk("payers", "withdraw", told["payer"], "--data-dir", office.folder).code == 0
    gone = json.loads(kiosk("payers", "show", told["payer"], "--data-dir", office.folder, "--json").out)
    assert (gone["state"], gone["enrolled_here"], "template" in gone["held"]) == ("withdrawn", False, False)
    assert kiosk("payers", "identify", "--camera", FACE, "--data-dir", office.folder).code == 10


def test_nobody_under_age_is_looked_at(kiosk: Kiosk, office: Running) -> None:
    ran = enrol(kiosk, office.folder)
    assert (ran.code, "--of-age" in ran.err) == (2, True)


def test_without_the_acquirer_nobody_is_looked_at_or_enrolled(kiosk: Kiosk, tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    ran = enrol(kiosk, tmp_path, "--of-age")
    assert (ran.code, "does not answer" in ran.err) == (14, True)
