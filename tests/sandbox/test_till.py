"""What the simulated till does about one order when lines break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.till import Answered, News, Outcome, Rejected, Request, Said, Told
from kiosk.sandbox import till as simulated
from kiosk.sandbox.till import Sale, TillLine, VanishedError, sell

SALE = Sale("A-1", Money(3850, "CNY"), wait_s=5)
PAID = Told(Outcome.APPROVED, "A-1")


@dataclass
class Line:
    """A line that plays what it is given; an exception is raised, `True` answers the first request."""

    plays: list[Told | Said | Exception]
    sent: list[Request] = field(default_factory=list)
    closed: bool = False

    def send(self, request: Request) -> None:
        self.sent.append(request)

    def hear(self, timeout_s: float) -> Said | None:
        if not self.plays:
            return None
        said = self.plays.pop(0)
        if isinstance(said, Exception):
            raise said
        return Answered(self.sent[0].id, said) if isinstance(said, Told) else said

    def close(self) -> None:
        self.closed = True


def connecting(*lines: Line | Exception) -> Callable[[], TillLine]:
    left = list(lines)

    def connect() -> TillLine:
        line = left.pop(0)
        if isinstance(line, Exception):
            raise line
        return line

    return connect


def test_a_line_that_is_lost_is_opened_again_and_the_same_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulated, "AGAIN_S", 0)
    heard: list[str] = []
    lines = [Line([VanishedError()]), Line([News(Told(Outcome.NOT_FINAL, "A-1")), PAID])]
    away = OperatorError("no kiosk answers")
    assert sell(connecting(lines[0], away, away, lines[1]), SALE, heard.append) == PAID
    assert heard == ["the line is lost; asking again", "order A-1 is not final: do not pay again"]
    assert lines[0].sent == lines[1].sent, "one order, one request"
    assert all(line.closed for line in lines)


def test_each_sale_asks_under_a_name_of_its_own() -> None:
    lines = [Line([PAID]), Line([PAID])]
    for line in lines:
        sell(connecting(line), SALE)
    assert lines[0].sent[0].id != lines[1].sent[0].id


def test_who_is_not_there_at_the_start_is_the_operator_s_to_mend() -> None:
    with pytest.raises(OperatorError):
        sell(connecting(OperatorError("no kiosk answers")), SALE)


def test_a_line_that_stays_lost_is_given_up_after_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "AGAIN_S", 0)

    def never() -> TillLine:
        if not tried:
            tried.append(1)
            return Line([VanishedError()])
        raise OperatorError("no kiosk answers")

    tried: list[int] = []
    assert sell(never, Sale("A-1", Money(1, "CNY"), wait_s=0.05)) is None


def test_what_the_kiosk_does_not_understand_ends_it_in_words() -> None:
    line = Line([Rejected("not a message of this link")])
    with pytest.raises(OperatorError, match="not a message"):
        sell(connecting(line), SALE)
    assert line.closed


def test_other_news_are_told_in_words() -> None:
    heard: list[str] = []
    line = Line([News(Told(Outcome.REVERSED, "A-0")), Answered("other", Told(Outcome.TOO_LATE)), PAID])
    assert sell(connecting(line), SALE, heard.append) == PAID
    assert heard == ["order A-0: reversed", "abort: too_late"]
