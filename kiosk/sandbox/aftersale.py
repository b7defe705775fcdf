"""The acquirer after a sale: refunds, advices of offline sales, the close of a batch, disputes.

Each is treated once, in one transaction (`Authoriser.once`), against the same books as payments. However
calls arrive, no more is given back than was taken, and one attempt of an order is approved.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from kiosk.acquirer.messages import (
    VERSION,
    Amount,
    AnswerMessage,
    OfflineMessage,
    OfflineTerms,
    PaymentRequest,
    encode,
    parse,
)
from kiosk.acquirer.offline import OFFLINE_TYP
from kiosk.acquirer.operations import (
    MAX_RECONCILIATION_BYTES,
    AdviceRequest,
    Difference,
    DisputeAnswer,
    DisputeRequest,
    Item,
    Kind,
    ReconciliationAnswer,
    ReconciliationRequest,
    RefundRequest,
    Total,
)
from kiosk.acquirer.signing import TrustedKeys, VerifiedRequest, verify_jws
from kiosk.domain.errors import ProtocolError
from kiosk.domain.money import Money
from kiosk.domain.payment import Result
from kiosk.sandbox.authorise import APPROVAL_ALPHABET, Authoriser, Treated, problem
from kiosk.sandbox.ledger import Attempt, Booked, Refund

__all__ = ["Aftersale"]

GRACE_S: Final = 7 * 86_400
"""A sale may come so much later than its cap on age says: the cap is on selling, not on forwarding."""
SKEW_S: Final = 300
LAG_S: Final = 65
"""So far may a kiosk's clock be behind and its signatures still be good: 60 s and the 5 s between clocks."""
KEEP_ANSWERS_S: Final = 7 * 86_400
"""`protocol.md`: keys are kept until settlement and 7 days more."""


class Aftersale:
    """Treats verified calls; `find` gives a terminal's public key by its id."""

    def __init__(
        self, authoriser: Authoriser, find: Callable[[str], ec.EllipticCurvePublicKey | None]
    ) -> None:
        self._authoriser, self._ledger, self._clock = authoriser, authoriser.ledger, authoriser.clock
        self._terminals = TrustedKeys({}, find)

    # --- refunds ----------------------------------------------------------------------------------------

    def refund(self, who: VerifiedRequest, ref: str, body: bytes) -> Treated:
        """`POST /v1/payments/{ref}/refunds`."""
        try:
            request = parse(body, RefundRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        if request.ref != ref:
            return problem(400, "format", "path and content name different payments")
        return self._authoriser.once(
            who,
            request,
            "refund",
            body,
            lambda terminal: self._refund(terminal, request),
            number=request.number,
        )

    def _refund(self, terminal: str, request: RefundRequest) -> Treated:
        attempt = self._ledger.attempt(terminal, request.ref)
        code = self._no_refund(attempt, request)
        if attempt is None:
            return Treated(200, _declined(request.ref, "refund", code))
        done = code in ("voided", "refunded")
        self._ledger.refund(
            attempt,
            Refund(
                number=request.number,
                minor=request.amount.minor,
                batch=request.batch,
                approved_by=request.approved_by,
                reason=request.reason,
                result=Result.APPROVED if done else Result.DECLINED,
                code=code,
            ),
            self._clock.utc_s(),
        )
        if not done:
            return Treated(200, _declined(request.ref, "refund", code))
        return Treated(200, self._authoriser.answer(attempt, "refund", result=Result.APPROVED, code=code))

    def _no_refund(self, attempt: Attempt | None, request: RefundRequest) -> str:
        """`voided` or `refunded` when it is done, else why not."""
        if attempt is None or attempt.order_ref != request.order_ref:
            return "unknown_payment"
        if attempt.result is not Result.APPROVED:
            return "not_approved"
        if attempt.amount.currency != request.amount.currency:
            return "currency"
        earlier = [one for one in self._ledger.refunds(attempt) if one.result is Result.APPROVED]
        left = attempt.amount.minor - sum(one.minor for one in earlier)
        if request.amount.minor > left:
            return "over_refundable"
        whole = not earlier and request.amount.minor == attempt.amount.minor
        return (
            "voided" if whole and not self._ledger.is_settled(attempt.terminal, attempt.batch) else "refunded"
        )

    # --- advices ----------------------------------------------------------------------------------------

    def advice(self, who: VerifiedRequest, body: bytes) -> Treated:
        """`POST /v1/advices`."""
        try:
            request = parse(body, AdviceRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        return self._authoriser.once(
            who, request, "advice", body, lambda terminal: self._advice(terminal, request)
        )

    def _advice(self, terminal: str, request: AdviceRequest) -> Treated:
        try:
            sale = parse(verify_jws(request.sale.encode(), OFFLINE_TYP, self._terminals), PaymentRequest)
        except ProtocolError as error:
            return problem(400, "sale", str(error))
        said = f"{sale.merchant_id}/{sale.store_id}/{sale.terminal_id}"
        if sale.offline is None or sale.ref != request.ref or said != terminal:
            return problem(400, "sale", "not an offline sale of this attempt and terminal")
        known = self._ledger.attempt(terminal, sale.ref)
        if known is not None:  # it had arrived after all, or was undone: the books say what it is
            self._ledger.book_as_offline(known)  # as its terminal counts it, or no batch would be balanced
            undone = known.result is Result.REVERSED
            result = Result.DECLINED if undone else known.result
            return Treated(200, self._authoriser.answer(known, "advice", result=result))
        money = sale.amount.money()
        code = self._not_offline(terminal, sale, money)
        attempt = Attempt(
            terminal=terminal,
            ref=sale.ref,
            store=f"{sale.merchant_id}/{sale.store_id}",
            order_ref=sale.order_ref,
            token=sale.payer.token,
            amount=money,
            result=Result.DECLINED if code else Result.APPROVED,
            code=code or "approved",
            approval="" if code else "".join(secrets.choice(APPROVAL_ALPHABET) for _ in range(6)),
            rrn=self._ledger.next_rrn(),
            batch=sale.batch,
            offline=True,
        )
        self._ledger.enter(attempt, self._clock.utc_s())
        return Treated(200, self._authoriser.answer(attempt, "advice"))

    def _not_offline(self, terminal: str, sale: PaymentRequest, money: Money) -> str:
        """Why a sale that was accepted offline is not paid, as a code; empty when it is."""
        terms = self._authoriser.terms_of(sale.policy_version)
        if terms is None or terms.offline is None or not terms.face_allowed:
            return "offline_not_allowed"
        assert sale.offline is not None  # noqa: S101 - asked before
        if self._over_caps(terminal, terms.offline, sale.offline, money):
            return "over_offline_cap"
        if self._authoriser.needs_pin(terms, money):
            return "pin_needed"
        age_s = self._clock.utc_s() - sale.offline.stored_at.timestamp()
        if not -SKEW_S <= age_s <= terms.offline.age_s + GRACE_S:
            return "too_old"
        if not self._ledger.known_payer(terminal, sale.payer.token):
            return "unknown_payer"
        store = f"{sale.merchant_id}/{sale.store_id}"
        if self._ledger.is_paid(store, sale.order_ref):
            return "order_paid"
        if money.currency != terms.currency or not self._authoriser.takes(sale.mode):
            return "mode" if money.currency == terms.currency else "currency"
        return self._authoriser.account_refusal(sale.payer.token, money)

    def _over_caps(self, terminal: str, caps: OfflineTerms, offline: OfflineMessage, money: Money) -> bool:
        """Sales come in their order: those that came in after this one was made were waiting then."""
        then = offline.stored_at.timestamp() + LAG_S
        count, minor = self._ledger.forwarded_after(terminal, then)
        return money.minor > caps.per_payment or count + 1 > caps.count or minor + money.minor > caps.total

    # --- batches ----------------------------------------------------------------------------------------

    def reconciliation(self, who: VerifiedRequest, body: bytes) -> Treated:
        """`POST /v1/reconciliations`."""
        try:
            request = parse(body, ReconciliationRequest, limit=MAX_RECONCILIATION_BYTES)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        return self._authoriser.once(
            who, request, "reconciliation", body, lambda terminal: self._reconcile(terminal, request)
        )

    def _reconcile(self, terminal: str, request: ReconciliationRequest) -> Treated:
        ours = {_key(one): one for one in map(_Booking, self._ledger.bookings(terminal, request.closes))}
        theirs = {(item.ref, item.kind, item.number): item for item in request.items}
        differences = [
            _difference(ours.get(key), theirs.get(key), key)
            for key in sorted(ours.keys() | theirs.keys())
            if (ours[key].minor if key in ours else None) != (theirs[key].minor if key in theirs else None)
        ]
        totals = _totals(ours.values(), request.currency)
        balanced = not differences and _same(totals, request.totals)
        now = self._clock.utc_s()
        if request.settle and balanced:
            self._ledger.settle(terminal, request.closes, now)
            self._ledger.forget_answers(now - KEEP_ANSWERS_S)
        answer = ReconciliationAnswer(
            version=VERSION,
            operation="reconciliation",
            ref=request.ref,
            closes=request.closes,
            settled=self._ledger.is_settled(terminal, request.closes),
            totals=totals,
            differences=tuple(differences),
        )
        return Treated(200, encode(answer))

    # --- disputes ---------------------------------------------------------------------------------------

    def dispute(self, who: VerifiedRequest, ref: str, body: bytes) -> Treated:
        """`POST /v1/payments/{ref}/disputes`."""
        try:
            request = parse(body, DisputeRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        if request.ref != ref:
            return problem(400, "format", "path and content name different payments")
        return self._authoriser.once(
            who, request, "dispute", body, lambda terminal: self._dispute(terminal, request, body)
        )

    def _dispute(self, terminal: str, request: DisputeRequest, body: bytes) -> Treated:
        attempt = self._ledger.attempt(terminal, request.ref)
        if attempt is None:
            return problem(404, "not_found")
        number = self._ledger.dispute(terminal, request.ref, request.reason, body, self._clock.utc_s())
        answer = DisputeAnswer(
            version=VERSION,
            operation="dispute",
            ref=request.ref,
            dispute_id=f"D-{number:06d}",
            state="open",
        )
        return Treated(200, encode(answer))


class _Booking:
    """One booking of this side under the words of the other."""

    def __init__(self, booked: Booked) -> None:
        self.attempt, self.kind = booked.attempt, booked.kind
        self.ref, self.number, self.minor = booked.attempt.ref, booked.number, booked.minor


def _key(one: _Booking) -> tuple[str, Kind, int]:
    return one.ref, one.kind, one.number


def _difference(ours: _Booking | None, theirs: Item | None, key: tuple[str, Kind, int]) -> Difference:
    known = ours.attempt if ours else None
    return Difference(
        ref=key[0],
        kind=key[1],
        number=key[2],
        kiosk=theirs.minor if theirs else None,
        acquirer=ours.minor if ours else None,
        order_ref=known.order_ref if known else "",
        created=datetime.fromtimestamp(round(known.at, 3), UTC) if known else None,
        approval=known.approval if known else "",
        rrn=known.rrn if known else "",
        token=known.token if known else "",
    )


def _totals(bookings: Iterable[_Booking], currency: str) -> tuple[Total, ...]:
    counts: Counter[Kind] = Counter()
    sums: Counter[Kind] = Counter()
    for one in bookings:
        counts[one.kind] += 1
        sums[one.kind] += one.minor
    return tuple(
        Total(kind=kind, count=counts[kind], amount=Amount(minor=sums[kind], currency=currency))
        for kind in sorted(counts)
    )


def _same(ours: tuple[Total, ...], theirs: tuple[Total, ...]) -> bool:
    """Kinds with nothing in them may be named or left out."""

    def told(totals: tuple[Total, ...]) -> set[tuple[str, int, int, str]]:
        return {(one.kind, one.count, one.amount.minor, one.amount.currency) for one in totals if one.count}

    return told(ours) == told(theirs)


def _declined(ref: str, operation: str, code: str) -> bytes:
    return encode(
        AnswerMessage(
            version=VERSION,
            operation=operation,  # type: ignore[arg-type]  # a literal of this file
            ref=ref,
            result=Result.DECLINED,
            code=code,
        )
    )
