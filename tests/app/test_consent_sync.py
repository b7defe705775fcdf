"""The consent texts followed as the acquirer publishes them: whole, its own, gone when they are withdrawn."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from kiosk.app.consent_sync import TextsFollower
from kiosk.assets import assets_dir
from kiosk.consent_texts import ConsentTexts
from kiosk.domain.consent import LANGUAGES
from tests.gallery.hosted import Hosted
from tests.gallery.test_follow import Kiosk, enrolled, publish

SHIPPED = assets_dir() / "consent"


def put(hosted: Hosted, version: str, **changed: str) -> None:
    for language in LANGUAGES:
        text = json.loads((SHIPPED / "v1" / f"{language}.json").read_bytes()) | {"version": version} | changed
        hosted.add("texts", f"consent/{version}/{language}.json", json.dumps(text).encode())
    hosted.publish("texts")


class Place:
    """A kiosk that follows `hosted`, and the texts that people see there."""

    def __init__(self, folder: Path, clock: Any) -> None:
        self.hosted, self.folder = Hosted(), folder / "consent"
        publish(self.hosted, {0: enrolled(3)})
        self.kiosk = Kiosk(self.hosted, folder, clock)
        self.warned: list[str] = []
        self.kiosk.follower.on_whole = TextsFollower(self.folder, self.warned.append).follow
        self.texts = ConsentTexts([self.folder, SHIPPED])

    def round(self) -> list[str]:
        """The versions that can be agreed to after one more round; the gallery follows whatever they do."""
        assert self.kiosk.round().whole
        return self.texts.versions()


@pytest.fixture
def place(tmp_path: Path, clock: Any) -> Place:
    clock.advance(int(1000 * (time.time() - clock.utc_s())))  # python-tuf asks the machine what has expired
    return Place(tmp_path, clock)


def test_a_published_text_is_shown_and_one_that_is_published_no_more_is_not(place: Place) -> None:
    assert place.round() == ["v1"]
    put(place.hosted, "v2", title="New")
    assert place.round() == ["v2", "v1"]
    assert place.texts.newest("ar").title == "New"
    put(place.hosted, "v2", title="Mended")
    place.round()
    assert place.texts.newest("ar").title == "Mended"
    place.hosted.delegated["texts"].targets.clear()
    place.hosted.publish("texts")
    assert place.round() == ["v1"]
    assert place.warned == []


def test_a_text_is_fetched_once(place: Place) -> None:
    put(place.hosted, "v2")
    place.round()
    place.kiosk.line.asked.clear()
    place.round()
    assert not [path for path, _ in place.kiosk.line.asked if "consent" in path]


def test_a_file_that_was_changed_on_the_disk_is_put_right(place: Place) -> None:
    put(place.hosted, "v2")
    place.round()
    (place.folder / "v2" / "en.json").write_bytes(b"{}")
    assert place.round() == ["v2", "v1"]


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        ("consent/v2/en.json", b"{}", "malformed"),
        ("consent/v3/en.json", (SHIPPED / "v1" / "en.json").read_bytes(), "it is v1/en"),
        ("consent/v2/en.json", b" " * 70_000, "endless_data"),
    ],
)
def test_what_is_no_text_is_told_once_and_the_gallery_is_in_step_all_the_same(
    place: Place, path: str, content: bytes, told: str
) -> None:
    place.hosted.add("texts", path, content)
    place.hosted.publish("texts")
    assert place.round() == ["v1"]
    assert place.round() == ["v1"]
    assert [told in line for line in place.warned] == [True]


def test_names_that_are_no_text_s_are_left_alone(place: Place, tmp_path: Path) -> None:
    place.hosted.add("texts", "consent/v2/tlh.json", b"{}")
    place.hosted.add("texts", "consent/../x.json", b"{}")
    put(place.hosted, "v2")
    assert place.round() == ["v2", "v1"]
    assert place.warned == []
    assert not (tmp_path / "x.json").exists()


def test_a_disk_that_refuses_is_told(place: Place) -> None:
    place.folder.write_bytes(b"a file")
    put(place.hosted, "v2")
    assert place.round() == ["v1"]
    assert "can't be kept" in place.warned[0]
