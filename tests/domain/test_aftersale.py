"""Refunds never exceed their payment; a batch that does not add up says where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.aftersale import (
    MAX_REFUNDS,
    Gap,
    Key,
    Kind,
    Refund,
    Sum,
    compare,
    left_of,
    plan_refund,
    totals_of,
    unexplained,
)
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money, MoneyError
from kiosk.domain.payment import Result

PAID = Money(3850, "CNY")


def yuan(minor: int) -> Money:
    return Money(minor, "CNY")


def test_all_that_is_left_is_refunded_when_no_amount_is_named() -> None:
    plan = plan_refund(PAID, [])
    assert (plan.number, plan.amount, plan.left, plan.whole) == (1, PAID, yuan(0), True)
    after = plan_refund(PAID, [Refund(1, yuan(1000), Result.APPROVED)])
    assert (after.number, after.amount, after.left, after.whole) == (2, yuan(2850), yuan(0), False)


def test_a_part_is_refunded_and_what_is_left_is_said() -> None:
    plan = plan_refund(PAID, [Refund(1, yuan(1000), Result.APPROVED)], yuan(850))
    assert (plan.number, plan.left) == (2, yuan(2000))


def test_more_than_is_left_is_refused_and_what_is_left_is_said() -> None:
    with pytest.raises(OperatorError, match=r"¥ 30\.00 is more than is left to refund: ¥ 28\.50 of ¥ 38\.50"):
        plan_refund(PAID, [Refund(1, yuan(1000), Result.APPROVED)], yuan(3000))
    with pytest.raises(OperatorError, match="nothing is left"):
        plan_refund(PAID, [Refund(1, PAID, Result.APPROVED)])


def test_a_declined_refund_gives_its_amount_free_and_keeps_its_number() -> None:
    plan = plan_refund(PAID, [Refund(1, PAID, Result.DECLINED)])
    assert (plan.number, plan.amount) == (2, PAID)


@pytest.mark.parametrize("result", [None, Result.PENDING])
def test_no_refund_is_begun_while_one_is_not_final(result: Result | None) -> None:
    with pytest.raises(OperatorError, match=r"refund 1 of ¥ 1\.00 is not final"):
        plan_refund(PAID, [Refund(1, yuan(100), result)], yuan(100))


def test_zero_and_another_currency_are_refused() -> None:
    with pytest.raises(OperatorError, match="more than zero"):
        plan_refund(PAID, [], yuan(0))
    with pytest.raises(OperatorError, match="in CNY, not EUR"):
        plan_refund(PAID, [], Money(100, "EUR"))
    with pytest.raises(MoneyError, match="do not mix"):
        left_of(PAID, [Refund(1, Money(1, "EUR"), Result.APPROVED)])


def test_there_are_at_most_ninety_nine_refunds() -> None:
    with pytest.raises(OperatorError, match="99 times"):
        plan_refund(PAID, [Refund(MAX_REFUNDS, yuan(1), Result.DECLINED)], yuan(1))


def test_a_journal_that_gave_back_too_much_has_nothing_left() -> None:
    assert left_of(PAID, [Refund(1, PAID, Result.APPROVED), Refund(2, PAID, Result.APPROVED)]) == yuan(0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "approve", "decline", "lose", "restart"]), st.integers(0, 5000)),
    max_size=60,
)


@given(paid=st.integers(1, 5000), steps=STEPS)
def test_whatever_happens_in_whatever_order_no_more_is_given_back_than_was_paid(
    paid: int, steps: list[tuple[str, int]]
) -> None:
    """The acquirer may have given back what is open: it counts until a word says that it did not."""
    refunds: list[Refund] = []
    for step, minor in steps:
        waiting = [refund for refund in refunds if refund.result is None]
        match step:
            case "ask":
                try:
                    plan = plan_refund(yuan(paid), refunds, yuan(minor) if minor else None)
                except OperatorError:
                    continue
                refunds.append(Refund(plan.number, plan.amount, None))
            case "approve" | "decline" if waiting:
                result = Result.APPROVED if step == "approve" else Result.DECLINED
                refunds[-1] = Refund(waiting[0].number, waiting[0].amount, result)
            case "restart":  # the journal hands them out again, in any order
                refunds = refunds[::-1] if all(refund.result for refund in refunds) else refunds
        gone = sum(refund.amount.minor for refund in refunds if refund.counts)
        assert gone + left_of(yuan(paid), refunds).minor == paid
        numbers = [refund.number for refund in refunds]
        assert len(numbers) == len(set(numbers))


# --- the close ------------------------------------------------------------------------------------------

BOOKED: dict[Key, int] = {("r-1", "payment", 1): 1000, ("r-2", "payment", 1): 2000, ("r-1", "refund", 1): 500}
SOLD: dict[Kind, Sum] = {"payment": Sum(2, 3000), "refund": Sum(1, 500)}


def test_three_sides_that_agree_are_balanced() -> None:
    found = compare(9, "CNY", kiosk=BOOKED, acquirer=SOLD, named=(), receipts=BOOKED)
    assert found.balanced
    assert [total.kind for total in found.totals] == ["payment", "refund"]
    assert all(total.agrees for total in found.totals)


def test_an_empty_batch_is_balanced_and_has_no_lines() -> None:
    found = compare(9, "CNY", kiosk={}, acquirer={}, named=(), receipts={})
    assert (found.balanced, found.totals) == (True, ())


def test_a_booking_that_one_side_lacks_is_named_and_explains_the_sums() -> None:
    lost = Gap("payment", "booking", None, 700, "ref-1")
    more: dict[Kind, Sum] = {**SOLD, "payment": Sum(3, 3700)}
    found = compare(9, "CNY", kiosk=BOOKED, acquirer=more, named=(lost,), receipts=BOOKED)
    assert found.gaps == (lost,)
    assert not found.totals[0].agrees


def test_an_acquirer_whose_list_does_not_explain_its_sums_is_found_out() -> None:
    more: dict[Kind, Sum] = {**SOLD, "payment": Sum(3, 3700)}
    assert unexplained(SOLD, more, ()) == (Gap("payment", "acquirer", 3000, 3700),)
    invented = Gap("refund", "booking", 100, None, "ref-9")
    assert unexplained(SOLD, SOLD, (invented,)) == (Gap("refund", "acquirer", 400, 500),)


def test_receipts_that_are_missing_too_many_or_of_another_sum_are_named_one_by_one() -> None:
    printed: dict[Key, int] = {
        ("r-1", "payment", 1): 1000, ("r-1", "refund", 1): 400, ("r-3", "offline", 1): 700,
    }  # fmt: skip
    found = compare(9, "CNY", kiosk=BOOKED, acquirer=SOLD, named=(), receipts=printed)
    assert found.gaps == (
        Gap("refund", "receipts", 500, 400, "r-1"),
        Gap("payment", "receipts", 2000, None, "r-2"),
        Gap("offline", "receipts", None, 700, "r-3"),
    )
    assert [total.kind for total in found.totals] == ["payment", "offline", "refund"]


KINDS_DRAWN: st.SearchStrategy[Kind] = st.sampled_from(["payment", "offline", "reversal", "refund"])
BOOKINGS = st.dictionaries(st.tuples(st.integers(0, 8), KINDS_DRAWN), st.integers(1, 9_999), max_size=12)


@given(kiosk=BOOKINGS, acquirer=BOOKINGS)
def test_a_batch_is_balanced_exactly_when_no_booking_differs(
    kiosk: dict[tuple[int, Kind], int], acquirer: dict[tuple[int, Kind], int]
) -> None:
    named = [
        Gap(kind, "booking", kiosk.get((ref, kind)), acquirer.get((ref, kind)), str(ref))
        for ref, kind in sorted(kiosk.keys() | acquirer.keys())
        if kiosk.get((ref, kind)) != acquirer.get((ref, kind))
    ]
    own: dict[Key, int] = {(str(ref), kind, 1): minor for (ref, kind), minor in kiosk.items()}
    theirs = totals_of((kind, minor) for (_, kind), minor in acquirer.items())
    found = compare(1, "CNY", kiosk=own, acquirer=theirs, named=named, receipts=own)
    assert found.gaps == tuple(named)
    assert found.balanced == (kiosk == acquirer)
