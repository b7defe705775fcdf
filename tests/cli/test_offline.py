"""Selling while the sandbox is stopped, and what becomes of it when it is there again: one debit each."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from kiosk.acquirer.journal import Journal
from kiosk.cli import main as cli
from kiosk.sandbox.ledger import Ledger

from ..sandbox.conftest import running
from .conftest import DEMO, PAYER, Kiosk, Ran

PROBE = DEMO / "probe" / f"{PAYER}.jpg"
TERMS = {"offline": {"per_payment": 5_000, "count": 3, "total": 9_000, "age_s": 3_600}}


@dataclass
class Shop:
    """A kiosk's folder; its sandbox comes and goes."""

    folder: Path
    kiosk: Kiosk

    def pay(self, order: str, amount: str = "10.00") -> Ran:
        return self("pay", "--camera", PROBE, "--amount", amount, "--order", order)

    def __call__(self, *arguments: str | Path) -> Ran:
        return self.kiosk(*arguments, "--data-dir", self.folder)

    def debits(self) -> dict[str, int]:
        """What was taken, by order."""
        books = Ledger(self.folder / "sandbox" / "ledger.sqlite")
        try:
            return {row.attempt.order_ref: row.debited_minor for row in books.rows()}
        finally:
            books.close()


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enrolled")
    enrol = ["enrol", "--camera", str(DEMO / "enrol" / PAYER), "--payer", PAYER, "--digits", "4821"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["kiosk", *enrol, "--data-dir", str(folder)])
        with pytest.raises(SystemExit):
            cli.main()
    return folder


@pytest.fixture
def shop(enrolled: Path, tmp_path: Path, kiosk: Kiosk) -> Shop:
    shutil.copytree(enrolled, tmp_path, dirs_exist_ok=True)
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "policy.json").write_text(json.dumps(TERMS))
    (tmp_path / "kiosk.toml").write_text("[acquirer]\nanswer_timeout_s = 2\n[offline]\nenabled = true\n")
    return Shop(tmp_path, kiosk)


def test_a_known_payer_buys_while_the_acquirer_is_away_and_is_debited_once(shop: Shop) -> None:
    with running(shop.folder):
        assert shop.pay("A-1").code == 0
    ran = shop.pay("A-2")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("APPROVED ¥ 10.00 OFFLINE order A-2 ")
    assert "PAID OFFLINE" in ran.out
    assert "A-2" not in shop.debits()

    again = shop.pay("A-2")  # the same request twice is one payment, offline too
    assert again.code == 0
    assert "nothing more was charged" in again.out

    line = shop("outbox").out
    assert re.match(r"waits     \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+08:00 advice 1 of order A-2 ¥ 10.00", line)
    waits = shop("offline")
    assert waits.code == 0
    assert "waiting      1  ¥ 10.00  of 3 sales, ¥ 90.00; one at most ¥ 50.00; the oldest since" in waits.out

    with running(shop.folder):
        resolved = shop("resolve", "--wait", "20")
        assert resolved.code == 0, resolved.err
        assert shop.debits() == {"A-1": 1_000, "A-2": 1_000}
        shop("resolve", "--wait", "2")
        closed = shop("close", "--json")
    assert closed.code == 0, closed.out + closed.err
    assert shop.debits() == {"A-1": 1_000, "A-2": 1_000}
    told = json.loads(shop("offline", "--json").out)
    assert ([one["order_ref"] for one in told["forwarded"]], told["waiting"]) == (["A-2"], [])
    copy = shop("receipt", "A-2")
    assert "PAID OFFLINE, CHARGED SINCE" in copy.out
    assert "Reference" in copy.out
    assert "* COPY *" in copy.out
    assert "your account is charged when there is one" not in copy.out
    again = shop.pay("A-2")
    assert ", charged since (paid before; nothing more was charged)" in again.out


def test_whoever_never_paid_here_is_not_believed(shop: Shop) -> None:
    with running(shop.folder):
        shop("limits", "show")  # the policy comes; nobody pays
        from kiosk.app.wiring import open_base

        with open_base(shop.folder, None) as base:
            assert base.fetch_policy() == ""
    ran = shop.pay("A-1")
    assert ran.code == 17
    assert "nothing was charged" in ran.err
    assert "the acquirer's last word about this payer, at this kiosk, was no approval" in ran.err
    assert json.loads(shop("offline", "--json").out)["waiting"] == []


def refused(ran: Ran) -> str:
    """Why a sale was not accepted offline."""
    assert ran.code == 17
    before, _, why = ran.err.strip().partition(" (and nothing is sold offline: ")
    assert before == "kiosk: not sent: the acquirer can't be reached; nothing was charged"
    return why.removesuffix(")")


def test_the_caps_end_it_and_what_was_refused_is_not_paid(shop: Shop) -> None:
    with running(shop.folder):
        assert shop.pay("A-1").code == 0
    assert refused(shop.pay("A-2", "50.01")) == "one sale may be ¥ 50.00 at most"
    assert shop.pay("A-3", "50.00").code == 0
    assert refused(shop.pay("A-4", "40.01")) == "¥ 50.00 wait to be forwarded, of ¥ 90.00 that may"
    assert shop.pay("A-4", "20.00").code == 0
    assert shop.pay("A-5", "1.00").code == 0
    assert refused(shop.pay("A-6", "1.00")) == "3 sales wait to be forwarded, of 3 that may"
    with running(shop.folder):
        assert shop("resolve", "--wait", "20").code == 0
    assert shop.debits() == {"A-1": 1_000, "A-3": 5_000, "A-4": 2_000, "A-5": 100}
    with Journal(shop.folder / "journal.sqlite", read_only=True) as journal:
        sold = [journal.payment(task.ref) for task in journal.advices()]
    assert [payment.order.order_ref for payment in sold if payment] == ["A-3", "A-4", "A-5"]


def test_without_the_shop_s_word_nothing_is_sold_offline(shop: Shop) -> None:
    (shop.folder / "kiosk.toml").write_text("")
    with running(shop.folder):
        assert shop.pay("A-1").code == 0
    assert refused(shop.pay("A-2")) == "offline sales are off here (offline.enabled)"
    assert "off here" in shop("offline").out


def test_a_declined_sale_is_shown_to_staff_and_charged_nowhere(shop: Shop) -> None:
    with running(shop.folder):
        assert shop.pay("A-1").code == 0
    assert shop.pay("A-2").code == 0
    with running(shop.folder, "--decline", PAYER):
        assert shop("resolve", "--wait", "20").code == 0
        compared = json.loads(shop("close", "--dry-run", "--json").out)
        closed = shop("close")
    (batch,) = compared["batches"]
    (gap,) = batch["differences"]  # the receipt that nobody paid
    assert (gap["about"], gap["kind"], gap["other"]) == ("receipts", "offline", "10.00")
    assert (gap["order_ref"], gap["declined"]) == ("A-2", "payer_blocked")
    assert closed.code == 10
    assert "DIFFERENT, closed" in closed.out  # both books agree
    assert f"! offline of order A-2, ref {gap['ref']}: the acquirer declined it (payer_blocked)" in closed.out
    assert "nothing was charged; its receipt says ¥ 10.00: see `kiosk offline --slips`" in closed.out
    assert shop.debits() == {"A-1": 1_000, "A-2": 0}
    told = shop("offline", "--slips")
    assert told.code == 10
    assert "DECLINED  ¥ 10.00 order A-2 sold " in told.out
    assert ": payer blocked by the provider (payer_blocked)\n" in told.out
    assert "OFFLINE SALE DECLINED" in told.out
    assert "FOR STAFF" in told.out
    copy = shop("receipt", "A-2")
    for part in (
        "OFFLINE SALE - NOT CHARGED",
        "payer blocked by the provider",
        "your account was not charged",
    ):
        assert part in " ".join(copy.out.split())
    assert shop.pay("A-3").code == 17  # whose last word is no is not believed again
    again = shop.pay("A-2")
    assert again.code == 0
    assert again.out.startswith("OFFLINE SALE DECLINED ¥ 10.00 order A-2 ")
    assert "the account was not charged" in again.out
    assert "nothing more was charged" in again.out


@pytest.mark.parametrize("fault", ["drop-answer:1", "crash-after-commit:1"])
def test_whatever_happens_to_a_forwarded_sale_it_is_debited_once(shop: Shop, fault: str) -> None:
    with running(shop.folder):
        assert shop.pay("A-1").code == 0
    assert shop.pay("A-2").code == 0
    with running(shop.folder) as sandbox:
        sandbox.misbehave(fault)
        shop("resolve", "--wait", "2")
    with running(shop.folder):
        assert shop("resolve", "--wait", "20").code == 0
    assert shop.debits() == {"A-1": 1_000, "A-2": 1_000}
    assert json.loads(shop("offline", "--json").out)["waiting"] == []


def test_nothing_was_ever_sold_and_no_policy_is_no_error(shop: Shop) -> None:
    ran = shop("offline")
    assert (ran.code, ran.err) == (0, "")
    assert "waiting      0" in ran.out
