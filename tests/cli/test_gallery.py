"""`kiosk gallery` against a sandbox that publishes, as an operator meets it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kiosk.acquirer.client import Told
from kiosk.acquirer.operations import withdrawal_request
from kiosk.app.membership import enrol_at_acquirer
from kiosk.app.wiring import open_base
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.consent import Consent, Scope
from kiosk.sandbox.keys import Terminals

from ..sandbox.conftest import Running
from .conftest import DEMO, Kiosk

TERMINAL = '[store]\nterminal_id = "T-DEMO-0002"\n'
MOST_S = 60.0


@pytest.fixture(scope="module")
def people(shop: Running) -> list[str]:
    """Three people who do not exist, enrolled at the acquirer."""
    tokens = []
    with open_base(shop.folder, None) as base:
        assert base.fetch_policy() == ""
        version = max(base.consent_texts.versions())
        text = base.consent_texts.find(version, "en")
        assert text is not None
        for number in range(3):
            vector = np.random.default_rng(number).normal(size=192).astype(np.float32)
            consent = Consent(version, text.sha256, "en", (Scope.PAY,), time.time(), 30)
            answer, why = enrol_at_acquirer(
                base, vector / np.linalg.norm(vector), consent, account=f"a-{number}", digits="1234"
            )
            assert answer is not None, why
            tokens.append(answer.token)
    return tokens


@pytest.fixture
def other(shop: Running, tmp_path: Path) -> Iterator[Path]:
    """Another kiosk of the same acquirer."""
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("acquirer.json", "scheme.json", "root.json"):
        shutil.copy(shop.folder / "sandbox" / name, folder / name)
    (folder / "kiosk.toml").write_text(TERMINAL)
    SoftwareKey.load_or_create(folder / "device.key")
    Terminals(shop.folder / "sandbox", shop.folder).register(folder / "device.pub")
    return folder


def synced(kiosk: Kiosk, folder: Path, key: str, count: int) -> dict[str, object]:
    """Sync until `key` counts so many: the sandbox publishes about every second."""
    until = time.monotonic() + MOST_S
    while True:
        ran = kiosk("gallery", "sync", "--json", "--data-dir", folder)
        assert ran.code == 0, ran.err
        told: dict[str, object] = json.loads(ran.out)
        if told[key] == count:
            return told
        assert time.monotonic() < until, told


def held(folder: Path) -> set[str]:
    with open_base(folder, None) as base:
        return {one.token for one in base.gallery.records()}


@pytest.mark.timeout(180)
def test_people_come_by_sync_and_go_by_withdrawal(
    shop: Running, people: list[str], other: Path, kiosk: Kiosk
) -> None:
    told = synced(kiosk, other, "people", 3)
    assert (told["acquirer"], told["own"], told["region"]) == (3, 0, "sandbox")
    assert held(other) == set(people)

    ran = kiosk("gallery", "status", "--data-dir", other)
    assert ran.code == 0
    assert "3 people (0 enrolled here), 3 references" in ran.out
    assert "in step with the acquirer's at 20" in ran.out
    assert kiosk("gallery", "verify", "--data-dir", other).out.startswith("every file is whole")
    audit = json.loads(kiosk("gallery", "audit", "--json", "--data-dir", other).out)
    assert (audit["people"], audit["marked"], audit["pairs"]) == (3, 0, [])

    with open_base(shop.folder, None) as base:
        assert isinstance(base.client().send(withdrawal_request(people[1])), Told)
    synced(kiosk, other, "people", 2)

    assert held(other) == {people[0], people[2]}
    trail = kiosk("audit", "show", "--what", "sync", "--data-dir", other)
    assert trail.code == 0
    assert people[1] not in trail.out
    assert "sync" in trail.out
    ran = kiosk("gallery", "sync", "--data-dir", other)
    assert ran.out.endswith("in step with the acquirer's: 2 people (0 enrolled here), 2 references\n")


def test_a_gallery_that_is_too_old_stops_payment_by_face_and_says_so(
    shop: Running, other: Path, kiosk: Kiosk
) -> None:
    assert kiosk("gallery", "sync", "--data-dir", other).code == 0
    (other / "kiosk.toml").write_text(TERMINAL + "[gallery]\ntime_to_live_h = 0.0000001\n")

    ran = kiosk("gallery", "status", "--data-dir", other)
    assert ran.code == 10
    assert "TOO OLD: nobody pays by face" in ran.out
    assert json.loads(kiosk("gallery", "status", "--json", "--data-dir", other).out)["stale"] is True
    paid = kiosk("pay", "--camera", DEMO / "probe" / "stranger.jpg", "--amount", "3.00", "--data-dir", other)
    assert paid.code == 10
    assert "offline for too long" in paid.out + paid.err
    checks = json.loads(kiosk("doctor", "--json", "--data-dir", other).out)["checks"]
    (found,) = [check for check in checks if check["name"] == "gallery_sync"]
    assert found["status"] == "red"
    assert "nobody pays by face" in found["detail"]


def test_what_can_not_be_reached_or_believed_is_one_line(other: Path, kiosk: Kiosk) -> None:
    (other / "kiosk.toml").write_text(TERMINAL + '[gallery]\nrepository_url = "http://127.0.0.1:9/repo/"\n')
    ran = kiosk("gallery", "sync", "--data-dir", other)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("kiosk: unreachable: it can't be reached")

    (other / "root.json").write_text("{}")
    ran = kiosk("gallery", "sync", "--data-dir", other)
    assert ran.code == 2
    assert ran.err.startswith("kiosk: malformed: ")

    (other / "root.json").unlink()
    ran = kiosk("gallery", "sync", "--data-dir", other)
    assert ran.code == 2
    assert "no repository is pinned here" in ran.err
    assert "root.json" in ran.err


def test_a_kiosk_without_a_repository_has_nothing_to_sync(kiosk: Kiosk, tmp_path: Path) -> None:
    ran = kiosk("gallery", "status", "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (0, "nobody is enrolled\nno repository is pinned here: nothing is synced\n")
    assert json.loads(kiosk("gallery", "status", "--json", "--data-dir", tmp_path).out) == {
        "pinned": False,
        "stale": False,
        "people": 0,
    }
    assert kiosk("gallery", "verify", "--json", "--data-dir", tmp_path).code == 0


def test_a_file_that_is_harmed_is_named(shop: Running, other: Path, kiosk: Kiosk, people: list[str]) -> None:
    synced(kiosk, other, "segments", 1)
    (segment,) = (other / "gallery").glob("acquirer-*.seg")
    segment.write_bytes(b"harmed")

    ran = kiosk("gallery", "verify", "--data-dir", other)
    assert ran.code == 10
    assert ran.out.startswith("DAMAGED")
    assert kiosk("gallery", "sync", "--data-dir", other).code == 0
    assert kiosk("gallery", "verify", "--data-dir", other).code == 0


def test_people_who_are_too_alike_are_named_by_token(kiosk: Kiosk, tmp_path: Path) -> None:
    from tests.app.test_people import record

    with open_base(tmp_path, None, begins=True) as base:
        for token, seed in (("ming", 1), ("wang", 1), ("li", 2)):
            base.enrol(record(base, token, seed))

    ran = kiosk("gallery", "audit", "--data-dir", tmp_path)

    assert ran.code == 0
    assert ran.out.startswith("1.000  ming  wang\n2 of 3 people are marked")
    with open_base(tmp_path, None) as base:
        assert base.gallery.neighbours == {"ming", "wang"}
