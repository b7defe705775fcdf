"""The consent texts that ship, and what is believed of a file that doesn't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.assets import assets_dir
from kiosk.consent_texts import MAX_BYTES, ConsentTexts, parse_text
from kiosk.domain.consent import FACTS, LANGUAGES
from kiosk.domain.errors import OperatorError

SHIPPED = assets_dir() / "consent"


def written(folder: Path, version: str, **changed: str) -> None:
    for language in LANGUAGES:
        text = json.loads((SHIPPED / "v1" / f"{language}.json").read_bytes()) | {"version": version} | changed
        (folder / version).mkdir(parents=True, exist_ok=True)
        (folder / version / f"{language}.json").write_text(json.dumps(text), "utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_shipped_text_tells_everything_in_each_language(language: str) -> None:
    text = ConsentTexts([SHIPPED]).newest(language)
    facts = {name: f"<{name}>" for name in FACTS}
    told = "".join(section.body for section in text.filled(facts))
    assert all(f"<{name}>" in told for name in FACTS)
    assert "14" in text.of_age
    assert "{" not in told


def test_the_highest_version_that_is_there_in_every_language_is_shown(tmp_path: Path) -> None:
    written(tmp_path, "v9")
    written(tmp_path, "v10")
    written(tmp_path, "v11")
    (tmp_path / "v11" / "ar.json").unlink()
    (tmp_path / "notes").mkdir()
    texts = ConsentTexts([tmp_path / "missing", tmp_path, SHIPPED])
    assert texts.versions() == ["v10", "v9", "v1"]
    assert texts.newest("ar").version == "v10"


def test_what_the_acquirer_published_comes_before_what_ships(tmp_path: Path) -> None:
    written(tmp_path, "v1", title="As published")
    assert ConsentTexts([tmp_path, SHIPPED]).newest("en").title == "As published"
    assert ConsentTexts([SHIPPED, tmp_path]).newest("en").title != "As published"


def test_there_is_no_text_in_a_language_or_version_that_nobody_wrote(tmp_path: Path) -> None:
    texts = ConsentTexts([SHIPPED])
    assert texts.find("v99", "en") is None
    assert texts.find("v1", "fr") is None
    assert texts.find("../v1", "en") is None
    with pytest.raises(OperatorError, match="in 'fr'"):
        texts.newest("fr")
    with pytest.raises(OperatorError, match="nobody enrols without one"):
        ConsentTexts([tmp_path]).newest("en")


def test_a_file_that_is_no_text_or_another_s_is_named(tmp_path: Path) -> None:
    written(tmp_path, "v3")
    wrong = tmp_path / "v3" / "en.json"
    wrong.write_bytes((tmp_path / "v3" / "ar.json").read_bytes())
    with pytest.raises(OperatorError, match="v3/ar") as caught:
        ConsentTexts([tmp_path]).find("v3", "en")
    assert caught.value.where == str(wrong)
    wrong.write_text('{"version": "v3"}')
    with pytest.raises(OperatorError, match="not a consent text"):
        ConsentTexts([tmp_path]).versions()


def test_what_can_t_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "v3" / "en.json").mkdir(parents=True)
    with pytest.raises(OperatorError, match="cannot be read"):
        ConsentTexts([tmp_path]).find("v3", "en")
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(OperatorError, match="cannot be read"):
        ConsentTexts([circle]).versions()


def test_a_text_larger_than_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        parse_text(b" " * (MAX_BYTES + 1))


@given(st.binary(max_size=200), st.integers(0, 4_000))
def test_altered_bytes_are_a_text_or_a_value_error_and_never_anything_else(junk: bytes, at: int) -> None:
    raw = (SHIPPED / "v1" / "ar.json").read_bytes()
    for altered in (junk, raw[:at] + junk + raw[at + len(junk) :]):
        try:
            parse_text(altered)
        except ValueError:
            continue
