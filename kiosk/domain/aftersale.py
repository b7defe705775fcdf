"""What happens after a sale: what is left to refund of it, and whether a batch adds up on three sides.

No sum of refunds is ever more than the payment: what is approved and what is still open both count as gone.
A batch is balanced when journal, acquirer and receipts agree; else every booking that differs is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import Result
from kiosk.domain.receipt import CloseTotal

__all__ = [
    "KINDS",
    "MAX_REFUNDS",
    "Comparison",
    "Gap",
    "Key",
    "Kind",
    "PlannedRefund",
    "Refund",
    "Sum",
    "compare",
    "given_back",
    "left_of",
    "plan_refund",
    "totals_of",
    "unexplained",
]

MAX_REFUNDS: Final = 99
"""Of one payment: the protocol numbers them with two digits."""

Kind = Literal["payment", "reversal", "refund", "offline"]
"""What a batch counts: approved online, undone, given back, accepted offline."""
Key = tuple[str, Kind, int]
"""Which booking: of which payment (its ref), of which kind, the how-manieth."""
KINDS: Final[tuple[Kind, ...]] = ("payment", "offline", "reversal", "refund")
"""In the order of a close slip."""


# --- refunds --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund of a payment, the `number`-th (from 1). `result`: None while there is no answer."""

    number: int
    amount: Money
    result: Result | None

    @property
    def counts(self) -> bool:
        """Whether its money is gone, or may be: all but what the acquirer declined."""
        return self.result in (None, Result.APPROVED, Result.PENDING)


@dataclass(frozen=True, slots=True)
class PlannedRefund:
    """A refund that may be asked for. `left`: what can still be refunded when it is approved.

    `whole`: it gives the payment back all at once, so that before settlement it is a void.
    """

    number: int
    amount: Money
    left: Money
    whole: bool


def left_of(paid: Money, refunds: Iterable[Refund]) -> Money:
    """What can still be refunded of `paid`: less every refund that is approved or open, never below zero.

    Raises:
        MoneyError: a refund in another currency.
    """
    left = paid
    for refund in refunds:
        if refund.counts:
            left = left - refund.amount if refund.amount <= left else Money(0, left.currency)
    return left


def given_back(paid: Money, refunds: Iterable[Refund]) -> Money:
    """What went back of `paid`: every refund that is approved."""
    return Money(
        sum(refund.amount.minor for refund in refunds if refund.result is Result.APPROVED), paid.currency
    )


def plan_refund(paid: Money, refunds: Sequence[Refund], amount: Money | None = None) -> PlannedRefund:
    """The next refund of an approved payment of `paid`; `amount` None: all that is left.

    Raises:
        OperatorError: more than is left, nothing is left, zero, another currency, an earlier refund is not
            final, or there were too many.
    """
    waiting = next((refund for refund in refunds if refund.result in (None, Result.PENDING)), None)
    if waiting is not None:
        raise OperatorError(
            f"refund {waiting.number} of {waiting.amount} is not final yet",
            do="It goes on by itself; ask for another one when it has ended.",
        )
    left = left_of(paid, refunds)
    if left.minor == 0:
        raise OperatorError(f"nothing is left to refund of {paid}")
    wanted = left if amount is None else amount
    if wanted.currency != paid.currency:
        raise OperatorError(f"the payment was in {paid.currency}, not {wanted.currency}")
    if wanted.minor == 0:
        raise OperatorError("a refund is more than zero")
    if left < wanted:
        raise OperatorError(f"{wanted} is more than is left to refund: {left} of {paid}")
    number = 1 + max((refund.number for refund in refunds), default=0)
    if number > MAX_REFUNDS:
        raise OperatorError(f"this payment was refunded {MAX_REFUNDS} times, which is the most there can be")
    return PlannedRefund(number, wanted, left - wanted, whole=wanted == paid)


# --- the close of a batch -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sum:
    """How many, and how much together (minor units)."""

    count: int = 0
    minor: int = 0

    def plus(self, minor: int) -> Sum:
        return Sum(self.count + 1, self.minor + minor)


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing on which the sides differ; minor units, None: that side has no such booking.

    `about` says between whom: the acquirer (`booking`), or the receipts. Both have the `ref` of what differs;
    where an acquirer's list does not explain its own totals there is none, and `kind` says which sum.
    """

    kind: Kind
    about: Literal["booking", "receipts", "acquirer"]
    kiosk: int | None
    other: int | None
    ref: str = ""
    number: int = 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One batch on three sides. `totals` has every kind that any side knows, in the order of `KINDS`."""

    batch: int
    currency: str
    totals: tuple[CloseTotal, ...]
    gaps: tuple[Gap, ...]

    @property
    def balanced(self) -> bool:
        return not self.gaps


def totals_of(bookings: Iterable[tuple[Kind, int]]) -> dict[Kind, Sum]:
    """Count and sum by kind, from each booking's kind and minor units; a kind without any is not there."""
    totals: dict[Kind, Sum] = {}
    for kind, minor in bookings:
        totals[kind] = totals.get(kind, Sum()).plus(minor)
    return totals


def unexplained(
    kiosk: Mapping[Kind, Sum], acquirer: Mapping[Kind, Sum], named: Iterable[Gap]
) -> tuple[Gap, ...]:
    """Kinds whose totals at the acquirer do not follow from this kiosk's and the differences it `named`.

    An acquirer that hides a booking from its list, or names one that does not exist, is found here.
    """
    expected = dict(kiosk)
    for gap in named:
        before = expected.get(gap.kind, Sum())
        count = before.count - (gap.kiosk is not None) + (gap.other is not None)
        expected[gap.kind] = Sum(count, before.minor - (gap.kiosk or 0) + (gap.other or 0))
    return tuple(
        Gap(kind, "acquirer", expected.get(kind, Sum()).minor, acquirer.get(kind, Sum()).minor)
        for kind in KINDS
        if expected.get(kind, Sum()) != acquirer.get(kind, Sum())
    )


def compare(
    batch: int,
    currency: str,
    *,
    kiosk: Mapping[Key, int],
    acquirer: Mapping[Kind, Sum],
    named: Sequence[Gap],
    receipts: Mapping[Key, int],
) -> Comparison:
    """Hold the three sides of a batch against each other.

    `kiosk` are the journal's bookings, `acquirer` the other side's totals and `named` the differences that it
    lists, `receipts` what was printed or shown. All in minor units of one currency.
    """
    own_sums, printed_sums = _sums(kiosk), _sums(receipts)
    gaps = [*named, *unexplained(own_sums, acquirer, named)]
    gaps += [
        Gap(key[1], "receipts", kiosk.get(key), receipts.get(key), key[0], key[2])
        for key in sorted(kiosk.keys() | receipts.keys())
        if kiosk.get(key) != receipts.get(key)
    ]
    totals: list[CloseTotal] = []
    for kind in KINDS:
        own, theirs, printed = (side.get(kind, Sum()) for side in (own_sums, acquirer, printed_sums))
        if own == theirs == printed == Sum():
            continue
        totals.append(
            CloseTotal(
                kind,
                kiosk=_side(own, currency),
                acquirer=_side(theirs, currency),
                receipts=_side(printed, currency),
            )
        )
    return Comparison(batch, currency, tuple(totals), tuple(gaps))


def _sums(bookings: Mapping[Key, int]) -> dict[Kind, Sum]:
    return totals_of((kind, minor) for (_, kind, _), minor in bookings.items())


def _side(total: Sum, currency: str) -> tuple[int, Money]:
    return total.count, Money(total.minor, currency)
