"""An enrolment goes out as the same bytes until there is a word; only the acquirer reads its template."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from kiosk.acquirer.client import Lost, Reply, Told, Unsent
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import Exchange, parse
from kiosk.acquirer.operations import ConsentMessage, EnrolmentAnswer, EnrolmentRequest, enrolment_request
from kiosk.app.asking import PAUSES_S, ask, envelope, sealed_template
from kiosk.domain.chain import GENESIS
from kiosk.domain.limits import PinKey
from kiosk.sandbox.sealed import SealedTo

from ..acquirer.parts import TERMINAL

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
REF = "01932e4f-1c00-7000-8000-000000000001"
FACE = np.eye(1, 192, dtype=np.float32)[0]


class Clock:
    def monotonic_ms(self) -> int:
        return 0

    def utc_s(self) -> float:
        return NOON.timestamp()


class Line:
    """Gives these replies one after the other, and keeps what was sent."""

    def __init__(self, *replies: Reply) -> None:
        self.replies, self.sent = list(replies), list[Exchange]()

    def send(self, exchange: Exchange) -> Reply:
        self.sent.append(exchange)
        return self.replies.pop(0)


@pytest.fixture
def sealed_to(tmp_path: Path) -> SealedTo:
    return SealedTo(tmp_path / "pin.key")


@pytest.fixture
def exchange(tmp_path: Path, sealed_to: SealedTo) -> Exchange:
    consent = ConsentMessage(
        text_version="v1",
        text_sha256=GENESIS,
        language="en",
        scope=("pay",),
        given_at=NOON,
        keep_until=NOON + timedelta(days=365),
        of_age=True,
    )
    key = sealed_to.terms()
    template = sealed_template(FACE, REF, PinKey(key.kid, key.key))
    with Journal(tmp_path / "journal.sqlite") as journal:
        return enrolment_request(
            TERMINAL, REF, consent=consent, template=template, model_id="net-1", account="wallet-1",
            **envelope(journal, Clock(), ZoneInfo("Asia/Shanghai")),
        )  # fmt: skip


def test_only_the_acquirer_reads_the_template(exchange: Exchange, sealed_to: SealedTo) -> None:
    request = parse(exchange.body or b"", EnrolmentRequest)
    assert np.array_equal(sealed_to.template(request.template, request.ref), FACE)
    assert FACE.tobytes() not in (exchange.body or b"")


def test_the_same_bytes_go_again_until_there_is_a_word(exchange: Exchange) -> None:
    word = EnrolmentAnswer(
        version=1, operation="enrolment", ref=exchange.ref, result="duplicate", code="same_face"
    )
    line, pauses = Line(Lost("no answer"), Unsent("no route"), Told(word)), list[float]()
    assert ask(line, exchange, EnrolmentAnswer, pauses.append) == (word, "")
    assert line.sent == [exchange] * 3
    assert pauses == list(PAUSES_S[:2])


def test_without_a_word_it_ends_after_five_tries_and_says_why(exchange: Exchange) -> None:
    line = Line(*[Lost("no answer")] * 5)
    assert ask(line, exchange, EnrolmentAnswer, lambda seconds: None) == (None, "no answer")
    assert line.replies == []
