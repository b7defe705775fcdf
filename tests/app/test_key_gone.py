"""A token that goes and comes while money is asked for: real kernel, journal, SoftHSM2 and sandbox.

What was not begun is refused, what was begun and not sent says so, what was sent is reversed when the token
is back: nothing is lost, and nothing is paid twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kiosk.acquirer.client import Reply
from kiosk.acquirer.messages import Exchange
from kiosk.devices.csr import certification_request
from kiosk.domain.decision import Reason
from kiosk.domain.limits import Policy
from kiosk.domain.payment import Approved, Confirm, NotSent, Offered, Result, Reversing, Unknown
from kiosk.sandbox.keys import Terminals

from ..sandbox.conftest import Running, running
from ..tokens import SoftToken, soft_token
from .test_kernel import Shop, unit


class Straight:
    """Calls are made at once, by a real client."""

    def __init__(self, send: Callable[[Exchange], Reply]) -> None:
        self._send = send

    def submit(self, exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None:
        done(self._send(exchange))


class TokenShop(Shop):
    def __init__(self, folder: Path, soft: SoftToken, sandbox: Running) -> None:
        self.soft, self.sandbox = soft, sandbox
        self.key = soft.ring(folder / "data").make(time.time())
        request = folder / "kiosk.csr"
        request.write_bytes(certification_request(self.key, merchant_id="M-1", terminal_id="T-1"))
        Terminals(sandbox.folder / "sandbox", sandbox.folder).register(request)
        super().__init__(folder)

    def open(self) -> None:
        super().open()
        self.kernel._acquirer = Straight(self.sandbox.client(self.key).send)
        self.kernel._check_key = self.key.check

    def accept_policy(self, jws: bytes) -> Policy:
        return self.policy

    def debited(self, order_ref: str) -> int:
        return sum(row.debited_minor for row in self.sandbox.rows(order_ref))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[TokenShop]:
    (tmp_path / "acquirer").mkdir()
    with soft_token() as soft, running(tmp_path / "acquirer") as sandbox:
        shop = TokenShop(tmp_path, soft, sandbox)
        yield shop
        shop.journal.close()


def test_without_its_token_the_kiosk_begins_nothing_and_with_it_again_it_pays(shop: TokenShop) -> None:
    shop.soft.take_away()
    shop.offer()
    assert isinstance(shop.kernel.state, Offered)
    assert shop.kernel.state.refusal is not None
    assert shop.kernel.state.refusal.reason is Reason.FACE_NOT_ALLOWED
    assert shop.kernel.failure is not None
    assert "token" in str(shop.kernel.failure)
    assert shop.journal.attempts_of("O-1") == []
    shop.soft.put_back()
    shop.later(600_000)
    shop.pay(order_ref="O-2")
    shop.drain()
    assert isinstance(shop.kernel.state, Approved)
    assert shop.debited("O-2") == 3850


def test_a_token_that_goes_during_the_look_begins_nothing(shop: TokenShop) -> None:
    shop.offer()
    shop.soft.take_away()
    shop.look(unit(1))
    assert shop.journal.attempts_of("O-1") == []
    assert shop.sandbox.rows("O-1") == []


def test_a_payment_that_could_not_be_signed_was_not_sent_and_may_be_paid_later(shop: TokenShop) -> None:
    shop.offer()
    shop.look(unit(1))
    shop.soft.take_away()
    shop.kernel.handle(Confirm())
    shop.drain()
    assert isinstance(shop.kernel.state, NotSent)
    assert shop.journal.open_attempts() == []
    assert shop.sandbox.rows("O-1") == []
    shop.soft.put_back()
    shop.later(600_000)
    shop.pay()
    shop.drain()
    assert isinstance(shop.kernel.state, Approved)
    assert shop.debited("O-1") == 3850


def test_what_was_sent_before_the_token_went_is_reversed_when_it_is_back(shop: TokenShop) -> None:
    shop.sandbox.misbehave("drop-answer:1")
    shop.pay()
    shop.drain()
    assert isinstance(shop.kernel.state, Unknown)
    assert shop.debited("O-1") == 3850
    shop.soft.take_away()
    for _ in range(60):
        shop.later(1_000)
    (behind,) = [*shop.kernel.behind.values(), *_open(shop)][:1]
    assert isinstance(behind, Reversing)
    shop.restart()
    shop.later(60_000)
    assert len(shop.journal.open_attempts()) == 1  # also over a restart, and still without the token
    shop.soft.put_back()
    for _ in range(40):
        shop.later(10_000)
    assert shop.journal.open_attempts() == []
    (attempt,) = shop.journal.attempts_of("O-1")
    assert attempt.answer is not None
    assert attempt.answer.result is Result.REVERSED
    assert shop.debited("O-1") == 0


def _open(shop: TokenShop) -> list[object]:
    return [shop.kernel.state] if isinstance(shop.kernel.state, Unknown | Reversing) else []
