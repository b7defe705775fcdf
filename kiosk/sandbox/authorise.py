"""How the sandbox decides: idempotent, one approval for an order, inside its own signed caps.

A call that was treated before under the same key and content gets the stored answer; a reversal that arrives
before its payment leaves a tombstone, and the payment is then refused. Everything a call does is one
transaction of the ledger.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from kiosk.acquirer.messages import (
    VERSION,
    AnswerMessage,
    LimitsLeft,
    Message,
    Minor,
    Operation,
    PaymentRequest,
    Problem,
    Request,
    ReversalRequest,
    Text,
    encode,
    parse,
    printable,
)
from kiosk.acquirer.signing import VerifiedRequest
from kiosk.domain.errors import ProtocolError
from kiosk.domain.money import CURRENCIES, Money
from kiosk.domain.payment import Result
from kiosk.domain.ports import Clock
from kiosk.sandbox.consents import end_if_over
from kiosk.sandbox.files import BadFile, read_json
from kiosk.sandbox.keys import OwnKey
from kiosk.sandbox.ledger import Attempt, Ledger, StoredAnswer
from kiosk.sandbox.policy import Policies, Terms, day_begins
from kiosk.sandbox.sealed import PIN, SealedTo

__all__ = ["DEFAULT_PIN", "MODES", "Authoriser", "Terms", "Treated", "problem"]

LOG: Final = logging.getLogger("uvicorn.error")

MODES: Final = {"test": ("demo", "test", "training"), "production": ("production",)}
"""What a sandbox of each mode accepts."""
HOUR_S: Final = 3_600
DEFAULT_PIN: Final = "246810"
"""Of every payer that payers.json gives no other."""
MAX_WRONG_PINS: Final = 3
BOOKED: Final = ("payment", "refund")
"""What has a sequence of its own and belongs to a batch that is open. An advice does not: the goods are gone,
and its sale is signed and has a name of its own, so that it can't be another."""
APPROVAL_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without letters that look like digits: people read it out."""


class _Payer(Message, frozen=True, kw_only=True):
    balance_minor: Minor
    currency: str
    masked: Text = ""
    blocked: bool = False
    pin: str = ""

    def __post_init__(self) -> None:
        if self.currency not in CURRENCIES:
            raise ValueError(f"unknown currency {self.currency!r}")
        if self.pin and not PIN.fullmatch(self.pin):
            raise ValueError("a PIN has 4 to 12 digits")


@dataclass(frozen=True, slots=True)
class Treated:
    """The answer to one call, not yet signed."""

    status: int
    body: bytes


def problem(status: int, error: str, detail: str = "") -> Treated:
    """A refusal to treat a call."""
    return Treated(status, encode(Problem(error=error, detail=printable(detail)[:128])))


class Authoriser:
    """Treats verified calls. `folder` may hold `policy.json` and `payers.json`; both are read at each call.

    A payer that nobody named is given an account with `opening_minor` at the first payment, unless that is
    None: then such a payer is unknown. Where one of the files can't be used, the log says so and a payment is
    declined (`malfunction`): nobody has to wonder whether it was charged.

    Raises:
        BadFile: one of the files can't be used, when this is made.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy_key: OwnKey,
        folder: Path,
        clock: Clock,
        *,
        mode: str,
        declined: frozenset[str] = frozenset(),
        opening_minor: int | None = 1_000_000,
        pin: str = DEFAULT_PIN,
    ) -> None:
        self.ledger, self.folder, self.clock = ledger, folder, clock
        self._policies = Policies(ledger, policy_key, folder, clock)
        self._modes, self._declined, self._opening = MODES[mode], declined, opening_minor
        self._pin = pin
        self._terms(), self._payers()

    @cached_property
    def sealed_to(self) -> SealedTo:
        """The key that PINs and templates are encrypted to."""
        return SealedTo(self.folder / "pin.key")

    # --- calls ------------------------------------------------------------------------------------------

    def payment(self, who: VerifiedRequest, body: bytes, *, decline: bool = False) -> Treated:
        """`POST /v1/payments`; `decline`: a fault asks for it."""
        try:
            request = parse(body, PaymentRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        return self.once(who, request, "payment", body, lambda at: self._pay(at, request, decline=decline))

    def reversal(self, who: VerifiedRequest, ref: str, body: bytes) -> Treated:
        """`POST /v1/payments/{ref}/reversals`."""
        try:
            request = parse(body, ReversalRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        if request.ref != ref:
            return problem(400, "format", "path and content name different attempts")
        return self.once(who, request, "reversal", body, lambda terminal: self._undo(terminal, request))

    def status(self, who: VerifiedRequest, ref: str) -> Treated:
        """`GET /v1/payments/{ref}`."""
        attempt = self.ledger.attempt(self.ledger.terminal(who.key_id), ref)
        if attempt is None:
            return problem(404, "not_found")
        return Treated(200, self.answer(attempt, "status"))

    def follow(self, new: str, old: str) -> None:
        """The key `new` took the place of `old`: it speaks for the same terminal from its first call on."""
        terminal = self.ledger.terminal(old)
        if terminal and not self.ledger.terminal(new):
            with self.ledger.transaction():
                self.ledger.bind(new, terminal)

    def terminal(self, key_id: str) -> tuple[str, str] | None:
        """Merchant and terminal that a key speaks for; None while it has named none."""
        names = self.ledger.terminal(key_id).split("/")
        return (names[0], names[-1]) if len(names) == 3 else None

    def policy(self) -> bytes:
        """The policy in force as a JWS: a new version when the terms changed or half its time is over."""
        return self._policies.issue(self.sealed_to.terms())

    def has_account(self, token: str) -> bool:
        """Whether this payer can be charged here: it has paid, or payers.json names it."""
        return self.ledger.account(token) is not None or token in self._payers()

    def is_blocked(self, token: str) -> bool:
        """Whether a payer can't pay at all: named so, or too many wrong PINs."""
        named = self._payers().get(token)
        blocked = token in self._declined or (named is not None and named.blocked)
        return blocked or self.ledger.wrong_pins(token) >= MAX_WRONG_PINS

    def takes(self, mode: str) -> bool:
        """Whether calls of this mode are for this sandbox."""
        return mode in self._modes

    def terms_of(self, version: int) -> Terms | None:
        """The terms that a version of the policy was issued with; None when there is no such version."""
        wording = self.ledger.terms(version)
        return None if wording is None else parse(wording, Terms)

    def once(
        self,
        who: VerifiedRequest,
        request: Request,
        operation: Operation,
        body: bytes,
        treat: Callable[[str], Treated],
        *,
        number: int = 1,
    ) -> Treated:
        """Treat a call once, in one transaction: `treat` is given the terminal (merchant/store/terminal).

        The stored answer for the same key and content, 422 for other content; 409 for a sequence that another
        call of the terminal had, and for a batch that is settled (never for a reversal or an advice: both
        must get through).
        """
        key, digest = who.idempotency_key or "", hashlib.sha256(body).hexdigest()
        if key != f"{request.ref}:{operation}:{number}":
            return problem(400, "idempotency_key", f"not ref:{operation}:{number} of this content")
        name = f"{request.merchant_id}/{request.store_id}/{request.terminal_id}"
        with self.ledger.transaction():
            terminal = self.ledger.bind(who.key_id, name)
            if terminal != name:
                return problem(403, "terminal", "this key speaks for another terminal")
            stored = self.ledger.stored(terminal, key)
            if stored is not None and stored.digest != digest:
                return problem(422, "other_content", "this key was used for other content")
            if operation == "payment" and (known := self.ledger.attempt(terminal, request.ref)):
                # Whatever was stored: a tombstone, approved and undone since, or accepted offline.
                undone = known.result is Result.REVERSED
                result = Result.DECLINED if undone else known.result
                if stored is None or undone:
                    return Treated(200, self.answer(known, "payment", result=result))
            if stored is not None:
                return Treated(stored.status, stored.body)
            if operation in BOOKED:
                if not self.ledger.take_sequence(terminal, request.sequence, key):
                    return problem(409, "sequence_reused", f"sequence {request.sequence} was used before")
                if self.ledger.is_settled(terminal, request.batch):
                    return problem(409, "batch_settled", f"batch {request.batch} is closed")
            treated = treat(terminal)
            if treated.status == 200 or operation == "payment":  # what was not treated may be asked again
                stored = StoredAnswer(digest, treated.status, treated.body, request.batch)
                self.ledger.store(terminal, key, stored)
            return treated

    # --- inside -----------------------------------------------------------------------------------------

    def _pay(self, terminal: str, request: PaymentRequest, *, decline: bool) -> Treated:
        store = f"{request.merchant_id}/{request.store_id}"
        money = request.amount.money()
        try:
            code = "declined" if decline else self._refusal(terminal, store, request, money)
        except BadFile as error:
            LOG.error("%s", error)
            code = "malfunction"
        attempt = Attempt(
            terminal=terminal,
            ref=request.ref,
            store=store,
            order_ref=request.order_ref,
            token=request.payer.token,
            amount=money,
            result=Result.DECLINED if code else Result.APPROVED,
            code=code or "approved",
            approval="" if code else "".join(secrets.choice(APPROVAL_ALPHABET) for _ in range(6)),
            rrn=self.ledger.next_rrn(),
            batch=request.batch,
            offline=request.offline is not None,
        )
        self.ledger.enter(attempt, self.clock.utc_s())
        (newest, _, _), status = self.ledger.policy(), 403 if code == "mode" else 200
        refresh = request.policy_version < newest
        return Treated(status, self.answer(attempt, "payment", refresh=refresh))

    def _refusal(self, terminal: str, store: str, request: PaymentRequest, money: Money) -> str:
        """Why not, as a code; empty when it may be paid."""
        terms, now = self._terms(), self.clock.utc_s()
        caps, token = terms.ceiling, request.payer.token
        since = day_begins(terms, now)
        hour_count, hour = self.ledger.paid_by(token, now - HOUR_S)
        day_count, person = self.ledger.paid_by(token, since)
        kiosk_count, kiosk = self.ledger.taken_at(terminal, since)
        reasons = (
            ("mode", request.mode not in self._modes),
            ("face_not_allowed", not terms.face_allowed),
            ("currency", money.currency != terms.currency),
            ("order_paid", self.ledger.is_paid(store, request.order_ref)),
            ("over_payment_cap", money.minor > caps.per_payment),
            ("pin_needed", self.needs_pin(terms, money) and request.pin is None),
            ("over_person_hour_cap", _above(hour + money.minor, caps.per_person_hour)),
            ("over_person_day_cap", _above(person + money.minor, caps.per_person_day)),
            ("over_kiosk_day_cap", _above(kiosk + money.minor, caps.per_kiosk_day)),
            ("velocity", _above(hour_count + 1, caps.per_person_hour_count)),
            ("velocity_day", _above(day_count + 1, caps.per_person_day_count)),
            ("over_kiosk_day_count", _above(kiosk_count + 1, caps.per_kiosk_day_count)),
        )
        refused = next((code for code, applies in reasons if applies), "")
        return refused or self._pin_refusal(request) or self.account_refusal(token, money)

    @staticmethod
    def needs_pin(terms: Terms, money: Money) -> bool:
        """Whether a look alone may not pay so much: by the cap, or by the law of the place."""
        return _above(money.minor, terms.ceiling.pin_above) or _above(money.minor, terms.two_factors_above)

    def _pin_refusal(self, request: PaymentRequest) -> str:
        """Counted for each attempt once: a retry of it gets the stored answer."""
        if request.pin is None:
            return ""
        token = request.payer.token
        if self.ledger.wrong_pins(token) >= MAX_WRONG_PINS:
            return "pin_blocked"
        try:
            typed = self.sealed_to.pin(request.pin, request.ref)
        except ProtocolError:
            return "pin_format"
        named = self._payers().get(token)
        known = (named.pin if named else "") or self._pin
        right = secrets.compare_digest(typed.encode(), known.encode())
        self.ledger.count_pin(token, right=right)
        if right:
            return ""
        return "pin_blocked" if self.ledger.wrong_pins(token) >= MAX_WRONG_PINS else "wrong_pin"

    def account_refusal(self, token: str, money: Money) -> str:
        """Why this payer's account does not pay so much, as a code; empty when it does."""
        named, person = self._payers().get(token), self.ledger.person(token)
        if token in self._declined or (named is not None and named.blocked):
            return "payer_blocked"
        if person is not None and end_if_over(self.ledger, person, self.clock.utc_s()):
            return "payer_withdrawn"
        account = self.ledger.account(token)
        if account is None:
            if named is not None:
                account = (named.currency, named.balance_minor, named.masked)
            elif self._opening is not None:
                account = (money.currency, self._opening, "")
            else:
                return "unknown_payer"
            self.ledger.open_account(token, *account)
        if account[0] != money.currency:
            return "currency"
        return "insufficient_funds" if account[1] < money.minor else ""

    def _undo(self, terminal: str, request: ReversalRequest) -> Treated:
        attempt = self.ledger.attempt(terminal, request.ref)
        if attempt is None:
            tombstone = Attempt(
                terminal=terminal,
                ref=request.ref,
                store=f"{request.merchant_id}/{request.store_id}",
                order_ref=request.order_ref,
                token="",
                amount=request.amount.money(),
                result=Result.REVERSED,
                code="reversed",
                batch=request.batch,
            )
            self.ledger.enter(tombstone, self.clock.utc_s())
        else:
            self.ledger.reverse(attempt, self.clock.utc_s())
        undone = self.ledger.attempt(terminal, request.ref)
        assert undone is not None  # noqa: S101 - written in this transaction
        return Treated(200, self.answer(undone, "reversal"))

    def answer(
        self,
        attempt: Attempt,
        operation: str,
        *,
        result: Result | None = None,
        code: str | None = None,
        refresh: bool = False,
    ) -> bytes:
        """The answer's body about an attempt; `result` and `code` where they are not the attempt's own."""
        account = self.ledger.account(attempt.token)
        return encode(
            AnswerMessage(
                version=VERSION,
                operation=operation,  # type: ignore[arg-type]  # one of three literals in this file
                ref=attempt.ref,
                result=result or attempt.result,
                code=attempt.code if code is None else code,
                approval=attempt.approval,
                rrn=attempt.rrn,
                masked_payer=(account[2] if account else "") or f"*{attempt.token[-4:]}",
                limits_left=self._left(attempt),
                action="refresh_policy" if refresh else "none",
            )
        )

    def _left(self, attempt: Attempt) -> LimitsLeft:
        try:
            terms = self._terms()
        except BadFile:  # what was decided is told all the same
            terms = self.terms_of(self.ledger.policy()[0]) or Terms()
        caps, since = terms.ceiling, day_begins(terms, self.clock.utc_s())
        _, person = self.ledger.paid_by(attempt.token, since)
        _, kiosk = self.ledger.taken_at(attempt.terminal, since)
        return LimitsLeft(
            currency=attempt.amount.currency,
            person_day=None if caps.per_person_day is None else max(0, caps.per_person_day - person),
            kiosk_day=None if caps.per_kiosk_day is None else max(0, caps.per_kiosk_day - kiosk),
        )

    def _terms(self) -> Terms:
        return self._policies.terms()

    def _payers(self) -> dict[str, _Payer]:
        return read_json(self.folder / "payers.json", dict[str, _Payer]) or {}


def _above(value: int, cap: int | None) -> bool:
    return cap is not None and value > cap
