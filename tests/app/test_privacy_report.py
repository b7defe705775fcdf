"""Assessment and signs say what is true of the kiosk, name nobody, load nothing, and leave no fact out."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from kiosk.app.privacy_facts import Enrolled, Facts, Network
from kiosk.app.privacy_report import assessment_html, open_points, risks_of
from kiosk.app.privacy_signs import BLANK, SIGNS, sign_html, sign_text
from kiosk.domain.consent import LANGUAGES

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WELL = Facts(
    made_at=NOW,
    software="facepay-kiosk 1",
    mode="production",
    controller="Corner Shop Ltd.",
    contact="privacy@corner-shop.example",
    terminal="S-1 T-1",
    provider="Pay & Co",
    licence="L-7",
    policy="version 3, until 2026-12-01",
    face_allowed=True,
    law_note="",
    two_factors_above="",
    limits=(("per_payment", "¥ 200.00"),),
    offline=False,
    enrolled=Enrolled(
        people=3, references=5, here=1, first=NOW, next_end=NOW, texts=(("v1/en", 3),), version=9
    ),
    warn_at=100_000,
    networks=(Network("embedding", "mf-1", "MIT", "pictures", cleared=True),),
    match=0.57,
    challenge="grey-zone",
    camera="pi",
    key="hw-1, class hardware, kept on a token",
    is_hardware=True,
    line="https://pay.example, TLS 1.3, pinned",
    is_encrypted=True,
    memory=(),
    audit="7 lines, last hash 0f",
    gaps=(),
)


class Page(HTMLParser):
    """What a page is made of; a tag that is not closed fails."""

    EMPTY = frozenset({"meta", "path", "circle", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text, self.attributes, self._open = "", [], list[str]()
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data


def pages(facts: Facts) -> list[str]:
    return [assessment_html(facts), *(sign_html(facts, language) for language in SIGNS)]


def test_a_page_runs_no_script_and_loads_nothing() -> None:
    for page in map(Page, pages(WELL)):
        assert not {"script", "img", "link", "iframe", "object", "form"} & set(page.tags)
        assert not {name for name, _ in page.attributes} & {"src", "href", "onclick", "onload"}
    assert not any("url(" in page or "@import" in page for page in pages(WELL))


def test_what_is_set_can_not_become_markup() -> None:
    hostile = '<script>alert("1")</script>&{0}{days}'
    facts = replace(
        WELL, controller=hostile, contact=hostile, law_note=hostile, key=hostile, face_allowed=False
    )
    for page in pages(facts):
        assert "<script" not in page
        assert hostile in Page(page).text


def test_a_kiosk_that_is_set_up_well_has_nothing_open() -> None:
    assert open_points(WELL) == []
    assert "Nothing that the kiosk can see" in assessment_html(WELL)
    assert {risk.left for risk in risks_of(WELL)} <= {"low", "medium"}


@pytest.mark.parametrize(
    ("change", "weight", "told"),
    [
        ({"is_hardware": False, "key": "dev-1, class dev, kept in a file"}, "must", "who takes the disk"),
        ({"is_encrypted": False, "line": "http://pay.example, not encrypted"}, "must", "not encrypted"),
        ({"contact": ""}, "must", "nobody is named"),
        ({"provider": "", "licence": ""}, "must", "who receives templates is not known"),
        ({"networks": (Network("liveness", "as-1", "x", "y", cleared=False),)}, "must", "as-1"),
        ({"enrolled": Enrolled(people=99_000, references=100_000)}, "must", "100000 references are stored"),
        (
            {"enrolled": Enrolled(people=2, references=2, without_end=2)},
            "should",
            "2 people are enrolled without",
        ),
        (
            {"enrolled": Enrolled(people=2, references=2, by_guardian=1)},
            "note",
            "1 were enrolled by a guardian",
        ),
        ({"memory": ("this machine swaps to /var/swap",)}, "should", "swaps to /var/swap"),
        ({"mode": "training"}, "note", "mode is training"),
        ({"face_allowed": False, "law_note": "Act 7."}, "note", "switched off here Act 7."),
        ({"gaps": ("gallery: it is damaged",)}, "must", "not readable: gallery: it is damaged"),
    ],
)
def test_what_is_open_is_said_with_its_weight(change: dict[str, object], weight: str, told: str) -> None:
    facts = replace(WELL, **change)  # type: ignore[arg-type]
    (point,) = open_points(facts)
    assert point.weight == weight
    assert told in point.what
    assert told in Page(assessment_html(facts)).text


def test_just_below_the_filing_threshold_nothing_is_said() -> None:
    assert open_points(replace(WELL, enrolled=Enrolled(people=99_999, references=99_999))) == []


def test_the_most_urgent_comes_first() -> None:
    facts = replace(WELL, mode="demo", contact="", memory=("this machine swaps to /dev/sda2",))
    assert [point.weight for point in open_points(facts)] == ["must", "should", "note"]


def test_a_sign_is_there_in_every_language_of_the_consent_with_the_same_points_and_facts() -> None:
    assert tuple(SIGNS) == LANGUAGES

    def facts_in(language: str) -> list[set[str | None]]:
        texts = [f"{heading} {text}" for heading, text in SIGNS[language].points]
        return [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts]

    assert facts_in("en") == facts_in("zh-Hans") == facts_in("ar")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sign_says_who_what_how_long_and_how_to_reach_them(language: str) -> None:
    page, text = Page(sign_html(WELL, language)), sign_text(WELL, language)
    for fact in (
        "Pay & Co",
        "L-7",
        "365",
        "14",
        "Corner Shop Ltd.",
        "privacy@corner-shop.example",
        "2026-11-25",
    ):
        assert fact in page.text
        assert fact in text
    assert dict(page.attributes)["dir"] == ("rtl" if language == "ar" else "ltr")
    assert not re.search(r"\{\w+\}", text)
    assert SIGNS[language].no_money not in text


def test_a_sign_has_a_line_to_write_on_where_nothing_is_set() -> None:
    bare = replace(
        WELL, contact="", provider="", licence="", mode="demo", face_allowed=False, law_note="Act 7."
    )
    text = sign_text(bare, "en")
    assert text.count(BLANK) == 3
    assert "Demonstration" in text
    assert "switched off here at present. Act 7." in text
