"""After a sale, as staff do it: refunds, disputes, the close of a day; against a real sandbox."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kiosk.acquirer.client import Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import payment_request
from kiosk.app import unattended
from kiosk.app.aftersale import AfterSale
from kiosk.app.kernel import Kernel
from kiosk.app.wiring import open_base, open_books
from kiosk.domain.payment import Answer, Result
from kiosk.domain.staff import Role

from ..acquirer.parts import an_effect
from ..sandbox.conftest import Running, running
from .conftest import Kiosk, Ran

PINS = {7: "193750", 12: "820461"}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox and a kiosk's folder with a manager (7) and a cashier (12)."""
    with running(tmp_path_factory.mktemp("books")) as started:
        with open_base(started.folder, None) as base:
            base.staff.add(7, Role.MANAGER, PINS[7])
            base.staff.add(12, Role.CASHIER, PINS[12], by=7)
        for number, pin in PINS.items():
            (started.folder / f"pin-{number}").write_text(pin + "\n")
        yield started


@pytest.fixture(autouse=True)
def _behaves(books: Running) -> None:
    books.misbehave()


def sold(
    books: Running, order_ref: str, minor: int = 3850, *, told: bool = True, tomorrow: bool = False
) -> str:
    """A payment that the acquirer approved; its ref. `told`: the kiosk heard of it."""
    with open_base(books.folder, None) as base, open_books(base) as found:
        effect = an_effect(order_ref, minor)
        journal, now = found.journal, base.clock.utc_s()
        day = datetime.fromtimestamp(now, found.kernel.setting.timezone).date() + timedelta(days=tomorrow)
        exchange = payment_request(
            base.terminal(),
            effect,
            sequence=journal.next_sequence(),
            batch=journal.batch(day),
            created_utc=now,
            confirmed_at=now,
            policy_version=1,
            previous=journal.last_hash,
        )
        journal.open_attempt(effect, exchange, day=day)
        reply = base.client().send(exchange)
        assert isinstance(reply, Verified)
        if told:
            journal.conclude(effect.ref, reply.answer)
            batch = journal.batch(day)
            journal.note_receipt(effect.ref, "payment", 1, minor, "CNY", batch, copy=False)
    return effect.ref


def lost_ref(books: Running) -> str:
    """The attempt of order R-8, which this kiosk holds as declined."""
    with Journal(books.folder / "journal.sqlite", read_only=True) as journal:
        return journal.attempts_of("R-8")[0].ref


def refund(kiosk: Kiosk, books: Running, name: str, *more: str, staff: int = 7, pin: int = 7) -> Ran:
    approved = ("--staff", str(staff), "--pin-file", books.folder / f"pin-{pin}")
    return kiosk("refund", name, *approved, "--data-dir", books.folder, *more)


def given_back(books: Running, ref: str) -> int:
    """What the acquirer's books say was given back of a payment, in minor units."""
    with sqlite3.connect(books.folder / "sandbox" / "ledger.sqlite") as db:
        rows = db.execute(
            """SELECT p.minor FROM postings p JOIN attempts a ON a.id = p.attempt
               WHERE a.ref = ? AND p.account LIKE 'payer:%' AND p.minor > 0""",
            (ref,),
        ).fetchall()
    db.close()
    return sum(row[0] for row in rows)


def test_a_whole_payment_before_the_close_is_voided_once(kiosk: Kiosk, books: Running) -> None:
    ref = sold(books, "R-1")
    ran = refund(kiosk, books, "R-1")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("VOIDED ¥ 38.50 of ¥ 38.50, order R-1; left ¥ 0.00")
    assert "VOID - PAYMENT CANCELLED" in ran.out
    again = refund(kiosk, books, ref)
    assert (again.code, "nothing is left to refund" in again.err) == (2, True)
    assert given_back(books, ref) == 3850


def test_parts_are_given_back_until_nothing_is_left_and_more_is_refused(kiosk: Kiosk, books: Running) -> None:
    ref = sold(books, "R-2")
    first = json.loads(refund(kiosk, books, "R-2", "--amount", "10.00", "--reason", "goods", "--json").out)
    assert (first["outcome"], first["number"], first["left"], first["code"]) == (
        "approved",
        1,
        "28.50",
        "refunded",
    )
    more = refund(kiosk, books, "R-2", "--amount", "28.51")
    assert more.code == 2
    assert "¥ 28.51 is more than is left to refund: ¥ 28.50 of ¥ 38.50" in more.err
    rest = json.loads(refund(kiosk, books, "R-2", "--json").out)
    assert (rest["number"], rest["amount"], rest["left"]) == (2, "28.50", "0.00")
    assert given_back(books, ref) == 3850


def test_only_a_manager_with_the_right_pin_gives_money_back(kiosk: Kiosk, books: Running) -> None:
    ref = sold(books, "R-3")
    for staff, pin, said in (
        (12, 12, "refund wants a manager"),
        (7, 12, "wrong PIN"),
        (8, 7, "nobody is staff 8"),
    ):
        ran = refund(kiosk, books, "R-3", staff=staff, pin=pin)
        assert (ran.code, said in ran.err) == (2, True), ran.err
    assert given_back(books, ref) == 0
    with Journal(books.folder / "journal.sqlite", read_only=True) as journal:
        assert journal.tasks_of(ref) == []


def test_what_was_never_paid_is_not_given_back(kiosk: Kiosk, books: Running) -> None:
    assert "this kiosk has no payment" in refund(kiosk, books, "R-none").err


@pytest.mark.parametrize("fault", ["drop-answer", "bad-signature"])
def test_a_lost_answer_is_no_second_refund(kiosk: Kiosk, books: Running, fault: str) -> None:
    ref = sold(books, f"R-{fault}")
    books.misbehave(fault)
    lost = refund(kiosk, books, f"R-{fault}", "--amount", "10.00", "--wait", "0.8")
    assert lost.code == 14, lost.out
    assert "goes on by itself" in lost.err
    other = refund(kiosk, books, f"R-{fault}", "--amount", "20.00")
    assert (other.code, "refund 1 of ¥ 10.00 is not final" in other.err) == (2, True)
    told = json.loads(refund(kiosk, books, f"R-{fault}", "--json").out)
    assert (told["outcome"], told["again"], told["amount"], told["left"]) == (
        "approved",
        True,
        "10.00",
        "28.50",
    )
    assert given_back(books, ref) == 1000


def test_resolve_finishes_a_refund_that_was_interrupted(kiosk: Kiosk, books: Running) -> None:
    ref = sold(books, "R-5")
    books.misbehave("drop-answer")
    assert refund(kiosk, books, "R-5", "--wait", "0.8").code == 14
    waits = json.loads(kiosk("outbox", "--json", "--data-dir", books.folder).out)
    assert [task["order_ref"] for task in waits["waiting"]] == ["R-5"]
    ran = kiosk("resolve", "--data-dir", books.folder)
    assert (ran.code, ran.out) == (0, "1 of 1 in the outbox went through (`kiosk outbox`)\n")
    assert given_back(books, ref) == 3850


def test_resolve_does_not_wait_for_what_went_through_while_it_asked_for_a_payment(
    kiosk: Kiosk, books: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold(books, "R-20")
    books.misbehave("drop-answer")
    assert refund(kiosk, books, "R-20", "--wait", "0.8").code == 14
    sold(books, "R-21", told=False)
    awaited: list[set[str]] = []
    resolve_open = unattended.resolve_open

    def slowly(kernel: Kernel, **words: Any) -> int:
        left = resolve_open(kernel, **words)
        kernel.run(until=lambda state: not kernel._journal.open_tasks())
        return left

    monkeypatch.setattr(unattended, "resolve_open", slowly)
    monkeypatch.setattr(AfterSale, "wait", lambda self, keys, wait_s: awaited.append(set(keys)))
    ran = kiosk("resolve", "--data-dir", books.folder)
    assert (ran.code, "1 of 1 in the outbox went through" in ran.out) == (0, True), ran.out + ran.err
    assert awaited == [set()]


def test_a_dispute_carries_the_journal_s_evidence_and_no_face(
    kiosk: Kiosk, books: Running, tmp_path: Path
) -> None:
    ref, out = sold(books, "R-6"), tmp_path / "pack.json"
    options = ("--staff", "7", "--pin-file", books.folder / "pin-7", "--data-dir", books.folder)
    ran = kiosk("dispute", "R-6", *options, "--out", out, "--json")
    assert ran.code == 0, ran.err
    first = json.loads(ran.out)
    pack: dict[str, Any] = json.loads(out.read_text())
    assert first["dispute_id"].startswith("D-")
    assert (pack["ref"], pack["reason"]) == (ref, "not_me")
    assert pack["pack"]["evidence"]["score_band"] == "high"
    assert [line["kind"] for line in pack["pack"]["journal"]] == ["payment", "concluded"]
    assert "template" not in out.read_text()
    again = json.loads(kiosk("dispute", ref, *options, "--json").out)
    assert again["dispute_id"] == first["dispute_id"]


def test_the_trail_says_who_approved_what_and_no_pin(kiosk: Kiosk, books: Running) -> None:
    sold(books, "R-T")
    where = ("--staff", "7", "--data-dir", books.folder, "--pin-file")
    assert kiosk("dispute", "R-T", *where, books.folder / "pin-12").code == 2
    assert kiosk("dispute", "R-T", *where, books.folder / "pin-7").code == 0
    assert kiosk("refund", "R-T", *where, books.folder / "pin-7").code == 0
    ran = kiosk("staff", "log", "--json", "--data-dir", books.folder)
    entries = json.loads(ran.out)["entries"]
    assert {entry["what"] for entry in entries} >= {"staff_added", "refund", "dispute", "wrong_pin"}
    assert not any(pin in ran.out for pin in PINS.values())


def test_a_day_that_agrees_on_three_sides_is_closed_and_a_refund_after_it_is_no_void(
    kiosk: Kiosk, books: Running
) -> None:
    ref = sold(books, "R-7")
    dry = json.loads(kiosk("close", "--dry-run", "--json", "--data-dir", books.folder).out)
    assert (dry["balanced"], dry["batches"][0]["settled"]) == (True, False)
    who = ("--staff", "12", "--pin-file", books.folder / "pin-12")
    ran = kiosk("close", "--slip", *who, "--data-dir", books.folder)
    assert ran.code == 0, ran.out + ran.err
    assert "balanced, closed" in ran.out
    assert "payments" in ran.out
    assert "CLOSE OF DAY" in ran.out
    late = refund(kiosk, books, ref)
    assert late.out.startswith("REFUNDED ¥ 38.50")
    following = json.loads(kiosk("close", "--json", "--data-dir", books.folder).out)
    assert [batch["totals"][0]["kind"] for batch in following["batches"]] == ["refund"]
    assert following["balanced"]


def test_what_is_sold_after_a_close_whose_answer_was_lost_belongs_to_the_next_batch(
    kiosk: Kiosk, books: Running
) -> None:
    sold(books, "R-10")
    books.misbehave("drop-answer")
    lost = kiosk("close", "--wait", "0.8", "--data-dir", books.folder)
    assert (lost.code, "the acquirer does not answer" in lost.err) == (14, True)
    sold(books, "R-11", 1000)
    ran = kiosk("close", "--json", "--data-dir", books.folder)
    told = json.loads(ran.out)
    assert (ran.code, told["balanced"]) == (0, True)
    (batch,) = told["batches"]  # the one before was closed by the answer that came now
    assert batch["settled"]
    assert batch["totals"][0]["kiosk"] == {"count": 1, "amount": "10.00"}


def test_a_payment_that_the_kiosk_never_heard_of_is_named_and_keeps_the_day_open(
    kiosk: Kiosk, books: Running
) -> None:
    ref = sold(books, "R-8", told=False)
    with Journal(books.folder / "journal.sqlite") as journal:
        journal.conclude(ref, Answer(Result.DECLINED, "lost"))
    ran = kiosk("close", "--data-dir", books.folder)
    assert ran.code == 10, ran.out
    assert (
        f"! payment of order R-8, ref {ref}: kiosk nothing, acquirer ¥ 38.50: run `kiosk journal" in ran.out
    )
    assert "DIFFERENT, compared, not closed" in ran.out
    sold(books, "R-12", tomorrow=True)  # this kiosk has no booking in the batch before: it is not passed over
    again = json.loads(kiosk("close", "--json", "--data-dir", books.folder).out)
    assert [(one["settled"], one["balanced"]) for one in again["batches"]] == [(False, False)]


def test_a_day_is_not_closed_while_a_payment_is_not_final(kiosk: Kiosk, books: Running) -> None:
    ref = sold(books, "R-9", told=False)
    books.misbehave("drop-answer", "drop-answer", "drop-answer")
    ran = kiosk("close", "--wait", "0.5", "--data-dir", books.folder)
    assert ran.code == 14
    assert f"payment ¥ 38.50 of order R-9 (ref {ref}) is not final" in ran.err
    assert "R-9 is not final yet" in refund(kiosk, books, "R-9").err
    assert f"{lost_ref(books)} was not approved" in refund(kiosk, books, lost_ref(books)).err


def test_whom_nobody_knows_can_t_be_withdrawn(kiosk: Kiosk, books: Running) -> None:
    ran = kiosk("forget", "--payer", "pyr-nobody", "--data-dir", books.folder)
    assert (ran.code, "nobody is enrolled as 'pyr-nobody', here or at the acquirer" in ran.err) == (2, True)
    assert kiosk("outbox", "--data-dir", books.folder).out.startswith("nothing waits")
    ran = kiosk("payers", "show", "pyr-nobody", "--data-dir", books.folder)
    assert (ran.code, "neither the acquirer nor this kiosk knows" in ran.err) == (2, True)


def test_a_withdrawal_waits_while_the_acquirer_can_t_be_reached(kiosk: Kiosk, tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    ran = kiosk("forget", "--payer", "pyr-1", "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (14, "pyr-1 was not enrolled here\n")
    assert "is told that pyr-1 withdrew when it can be reached" in ran.err
    assert kiosk("outbox", "--data-dir", tmp_path).out == "waits     withdrawal of pyr-1\n"
    with running(tmp_path) as again:
        known = json.loads((tmp_path / "sandbox" / "acquirer.json").read_text())
        assert known["base_url"] == again.address
        assert kiosk("resolve", "--data-dir", tmp_path).code == 0
    assert kiosk("outbox", "--data-dir", tmp_path).out == "nothing waits, nothing was declined\n"


def test_an_acquirer_that_died_after_it_gave_back_gives_back_nothing_more(
    kiosk: Kiosk, tmp_path: Path
) -> None:
    (tmp_path / "pin-7").write_text(PINS[7])
    with running(tmp_path) as first:
        with open_base(tmp_path, None) as base:
            base.staff.add(7, Role.MANAGER, PINS[7])
        ref = sold(first, "C-1")
        first.misbehave("crash-after-commit")
        assert refund(kiosk, first, "C-1", "--amount", "5.00", "--wait", "0.8").code == 14
    with running(tmp_path) as again:
        told = json.loads(refund(kiosk, again, "C-1", "--json").out)
        assert (told["outcome"], told["amount"], told["again"]) == ("approved", "5.00", True)
        assert given_back(again, ref) == 500


def test_staff_are_kept_by_a_manager_and_pins_are_never_arguments(kiosk: Kiosk, tmp_path: Path) -> None:
    for name, pin in (("a", "193750"), ("b", "820461"), ("easy", "111111")):
        (tmp_path / name).write_text(pin)

    def staff(*arguments: str) -> Ran:
        files = [str(tmp_path / one) if one in ("a", "b", "easy") else one for one in arguments]
        return kiosk("staff", *files, "--data-dir", tmp_path)

    assert staff("list").out.startswith("nobody yet")
    assert "too easy" in staff("add", "7", "--role", "manager", "--pin-file", "easy").err
    assert staff("add", "7", "--role", "manager", "--pin-file", "a").code == 0
    assert "a manager approves" in staff("add", "8", "--role", "cashier", "--pin-file", "b").err
    by = ("--by", "7", "--by-pin-file", "a")
    assert staff("add", "8", "--role", "cashier", "--pin-file", "b", *by).out == "staff 8 is a cashier\n"
    assert staff("pin", "8", "--pin-file", "a", *by).code == 0
    listed = json.loads(staff("list", "--json").out)["staff"]
    assert [(one["number"], one["role"], one["locked"]) for one in listed] == [
        (7, "manager", False), (8, "cashier", False),
    ]  # fmt: skip
    assert staff("remove", "8", *by).code == 0
    assert "last manager" in staff("remove", "7", *by).err
    assert staff("pin", "8", "--pin", "193750").code == 2


# --- an older copy of the journal, put back without its mark --------------------------------------------


def put_back(shop: Running, older: bytes) -> None:
    """Somebody restores a copy of the journal on another machine: no mark says that it is old."""
    path = shop.folder / "journal.sqlite"
    for end in ("-wal", "-shm", ".mark"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(older)


@pytest.fixture
def restored(kiosk: Kiosk, tmp_path: Path) -> Iterator[tuple[Running, str]]:
    """10.00 of a payment were given back, and then the copy from before that was put back."""
    with running(tmp_path) as shop:
        (tmp_path / "pin-7").write_text(PINS[7])
        with open_base(tmp_path, None) as base:
            base.staff.add(7, Role.MANAGER, PINS[7])
        ref = sold(shop, "O-1")
        with Journal(tmp_path / "journal.sqlite"):
            pass  # what is in its log goes into the file
        older = (tmp_path / "journal.sqlite").read_bytes()
        assert refund(kiosk, shop, "O-1", "--amount", "10.00").code == 0
        put_back(shop, older)
        yield shop, ref


def recovered(kiosk: Kiosk, shop: Running) -> dict[str, Any]:
    ran = kiosk("journal", "recover", "--days", "2", "--json", "--data-dir", shop.folder)
    assert ran.code == 0, ran.err
    told: dict[str, Any] = json.loads(ran.out)
    return told


def closed(kiosk: Kiosk, shop: Running) -> dict[str, Any]:
    ran = kiosk("close", "--json", "--data-dir", shop.folder)
    told: dict[str, Any] = json.loads(ran.out)
    assert (ran.code, told["balanced"]) == (0, True), ran.out + ran.err
    return told


def test_the_same_refund_asked_for_again_is_that_refund_and_the_day_balances(
    kiosk: Kiosk, restored: tuple[Running, str]
) -> None:
    shop, ref = restored
    asked = refund(kiosk, shop, "O-1", "--amount", "10.00")
    assert (asked.code, "`kiosk journal recover`" in asked.err) == (14, True)
    told = recovered(kiosk, shop)
    assert [(one["kind"], one["minor"]) for one in told["adopted"]] == [("refund", 1000)]
    assert (told["corrected"], told["refused"], told["differ"]) == ([], [], [])
    (batch,) = closed(kiosk, shop)["batches"]
    assert batch["settled"]
    assert given_back(shop, ref) == 1000
    late = json.loads(refund(kiosk, shop, "O-1", "--json").out)
    assert (late["outcome"], late["number"], late["amount"], late["left"]) == ("approved", 2, "28.50", "0.00")


def test_another_amount_asked_for_again_is_corrected_and_the_day_balances(
    kiosk: Kiosk, restored: tuple[Running, str]
) -> None:
    shop, ref = restored
    assert refund(kiosk, shop, "O-1", "--amount", "25.00").code == 14
    told = recovered(kiosk, shop)
    assert [(one["kind"], one["minor"]) for one in told["corrected"]] == [("refund", 1000)]
    closed(kiosk, shop)
    shown = kiosk("journal", "show", "--data-dir", shop.folder).out
    assert "refund 1  ¥ 10.00  approved, corrected" in shown
    assert given_back(shop, ref) == 1000
    again = refund(kiosk, shop, "O-1", "--amount", "28.51")
    assert "¥ 28.51 is more than is left to refund: ¥ 28.50 of ¥ 38.50" in again.err


def test_a_number_whose_refund_was_declined_there_gives_nothing_back_and_is_asked_for_anew(
    kiosk: Kiosk, restored: tuple[Running, str]
) -> None:
    shop, ref = restored
    with sqlite3.connect(shop.folder / "sandbox" / "ledger.sqlite") as db:
        db.execute("UPDATE refunds SET result = 'declined', code = 'over_refundable'")
    db.close()
    assert refund(kiosk, shop, "O-1", "--amount", "25.00").code == 14
    ran = kiosk("journal", "recover", "--days", "2", "--data-dir", shop.folder)
    assert f"refund 1 of {ref}: nothing went back by it; give it anew" in ran.out
    assert kiosk("outbox", "--data-dir", shop.folder).code == 10
    anew = json.loads(refund(kiosk, shop, "O-1", "--amount", "25.00", "--json").out)
    assert (anew["outcome"], anew["number"], anew["left"]) == ("approved", 2, "13.50")


def test_what_is_declined_here_and_charged_there_is_corrected_given_back_and_balances(
    kiosk: Kiosk, tmp_path: Path
) -> None:
    with running(tmp_path) as shop:
        (tmp_path / "pin-7").write_text(PINS[7])
        with open_base(tmp_path, None) as base:
            base.staff.add(7, Role.MANAGER, PINS[7])
        ref = sold(shop, "D-1", told=False)
        with Journal(tmp_path / "journal.sqlite") as journal:
            journal.conclude(ref, Answer(Result.DECLINED, "lost"))
        assert "was not approved: nothing was charged" in refund(kiosk, shop, "D-1").err
        assert kiosk("close", "--data-dir", tmp_path).code == 10
        ran = kiosk("journal", "recover", "--days", "2", "--data-dir", tmp_path)
        assert f"payment of order D-1, ref {ref}: held here otherwise, the acquirer has ¥ 38.50" in ran.out
        assert "the payer was charged" in ran.out
        assert "corrected" in kiosk("journal", "show", "--data-dir", tmp_path).out
        assert kiosk("receipt", "D-1", "--data-dir", tmp_path).out.count("APPROVED") == 1
        closed(kiosk, shop)
        assert refund(kiosk, shop, "D-1").code == 0
        assert given_back(shop, ref) == 3850
        assert recovered(kiosk, shop)["corrected"] == []
