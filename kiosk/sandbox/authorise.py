"""How the sandbox decides: idempotent, one approval for an order, inside its own signed caps.

A call that was treated before under the same key and content gets the stored answer; a reversal that arrives
before its payment leaves a tombstone, and the payment is then refused. Everything a call does is one
transaction of the ledger.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from kiosk.acquirer.messages import (
    VERSION,
    AnswerMessage,
    CeilingTerms,
    LimitsLeft,
    Message,
    PaymentRequest,
    PolicyTerms,
    Problem,
    ReversalRequest,
    encode,
    parse,
)
from kiosk.acquirer.signing import VerifiedRequest, sign_jws
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.money import Money
from kiosk.domain.payment import Result
from kiosk.domain.ports import Clock
from kiosk.sandbox.keys import OwnKey
from kiosk.sandbox.ledger import Attempt, Ledger, StoredAnswer

__all__ = ["MODES", "Authoriser", "Terms", "Treated", "problem"]

MODES: Final = {"test": ("demo", "test", "training"), "production": ("production",)}
"""What a sandbox of each mode accepts."""
DAY_S: Final = 86_400
HOUR_S: Final = 3_600
APPROVAL_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without letters that look like digits: people read it out."""


class Terms(Message, frozen=True, kw_only=True):
    """`policy.json`: the caps of this sandbox; `lifetime_s` is how long a policy is good for."""

    currency: str = "CNY"
    provider: str = "Sandbox Acquirer"
    licence: str = "SANDBOX-0000"
    face_allowed: bool = True
    lifetime_s: int = DAY_S
    ceiling: CeilingTerms = CeilingTerms(
        per_payment=100_000,
        per_person_day=300_000,
        per_kiosk_day=10_000_000,
        pin_above=50_000,
        per_person_hour_count=30,
    )


class _Payer(Message, frozen=True, kw_only=True):
    balance_minor: int
    currency: str
    masked: str = ""
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Treated:
    """The answer to one call, not yet signed."""

    status: int
    body: bytes


def problem(status: int, error: str, detail: str = "") -> Treated:
    """A refusal to treat a call."""
    return Treated(status, encode(Problem(error=error, detail=detail[:128])))


class Authoriser:
    """Treats verified calls. `folder` may hold `policy.json` and `payers.json`; both are read at each call.

    A payer that nobody named is given an account with `opening_minor` at the first payment, unless that is
    None: then such a payer is unknown.
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
    ) -> None:
        self._ledger, self._policy_key, self._folder, self._clock = ledger, policy_key, folder, clock
        self._modes, self._declined, self._opening = MODES[mode], declined, opening_minor

    # --- calls ------------------------------------------------------------------------------------------

    def payment(self, who: VerifiedRequest, body: bytes, *, decline: bool = False) -> Treated:
        """`POST /v1/payments`; `decline`: a fault asks for it."""
        try:
            request = parse(body, PaymentRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        return self._once(who, request, body, lambda terminal: self._pay(terminal, request, decline=decline))

    def reversal(self, who: VerifiedRequest, ref: str, body: bytes) -> Treated:
        """`POST /v1/payments/{ref}/reversals`."""
        try:
            request = parse(body, ReversalRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        if request.ref != ref:
            return problem(400, "format", "path and content name different attempts")
        return self._once(who, request, body, lambda terminal: self._undo(terminal, request))

    def status(self, who: VerifiedRequest, ref: str) -> Treated:
        """`GET /v1/payments/{ref}`."""
        attempt = self._ledger.attempt(self._ledger.terminal(who.key_id), ref)
        if attempt is None:
            return problem(404, "not_found")
        return Treated(200, self._answer(attempt, "status"))

    def follow(self, new: str, old: str) -> None:
        """The key `new` took the place of `old`: it speaks for the same terminal from its first call on."""
        terminal = self._ledger.terminal(old)
        if terminal and not self._ledger.terminal(new):
            with self._ledger.transaction():
                self._ledger.bind(new, terminal)

    def terminal(self, key_id: str) -> tuple[str, str] | None:
        """Merchant and terminal that a key speaks for; None while it has named none."""
        names = self._ledger.terminal(key_id).split("/")
        return (names[0], names[-1]) if len(names) == 3 else None

    def policy(self) -> bytes:
        """The policy in force as a JWS: a new version when the terms changed or half its time is over."""
        terms, now = self._terms(), self._clock.utc_s()
        wording = encode(terms)
        version, issued, expires_s = self._ledger.policy()
        if issued != wording or expires_s - now < terms.lifetime_s / 2:
            version, expires_s = version + 1, int(now) + terms.lifetime_s
            with self._ledger.transaction():
                self._ledger.issue(version, wording, expires_s)
        payload = PolicyTerms(
            version=version,
            expires=datetime.fromtimestamp(expires_s, UTC),
            currency=terms.currency,
            provider=terms.provider,
            licence=terms.licence,
            face_allowed=terms.face_allowed,
            ceiling=terms.ceiling,
        )
        return sign_jws(self._policy_key, "facepay-policy+jws", encode(payload))

    # --- inside -----------------------------------------------------------------------------------------

    def _once(
        self,
        who: VerifiedRequest,
        request: PaymentRequest | ReversalRequest,
        body: bytes,
        treat: Callable[[str], Treated],
    ) -> Treated:
        """Treat a call once: the stored answer for the same key and content, 422 for other content."""
        key, digest = who.idempotency_key or "", hashlib.sha256(body).hexdigest()
        if key != f"{request.ref}:{request.operation}:1":
            return problem(400, "idempotency_key", "not ref:operation:1 of this content")
        name = f"{request.merchant_id}/{request.store_id}/{request.terminal_id}"
        with self._ledger.transaction():
            terminal = self._ledger.bind(who.key_id, name)
            if terminal != name:
                return problem(403, "terminal", "this key speaks for another terminal")
            stored = self._ledger.stored(terminal, key)
            if stored is not None and stored.digest != digest:
                return problem(422, "other_content", "this key was used for other content")
            known = self._ledger.attempt(terminal, request.ref)
            if request.operation == "payment" and known is not None and known.result is Result.REVERSED:
                # A tombstone, or approved and undone since: the answer that was stored is no longer true.
                return Treated(200, self._answer(known, "payment", result=Result.DECLINED))
            if stored is not None:
                return Treated(stored.status, stored.body)
            treated = treat(terminal)
            self._ledger.store(terminal, key, StoredAnswer(digest, treated.status, treated.body))
            return treated

    def _pay(self, terminal: str, request: PaymentRequest, *, decline: bool) -> Treated:
        store = f"{request.merchant_id}/{request.store_id}"
        money = request.amount.money()
        code = "declined" if decline else self._refusal(terminal, store, request, money)
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
            rrn=self._ledger.next_rrn(),
        )
        self._ledger.enter(attempt, self._clock.utc_s())
        (newest, _, _), status = self._ledger.policy(), 403 if code == "mode" else 200
        refresh = request.policy_version < newest
        return Treated(status, self._answer(attempt, "payment", refresh=refresh))

    def _refusal(self, terminal: str, store: str, request: PaymentRequest, money: Money) -> str:
        """Why not, as a code; empty when it may be paid."""
        terms, now = self._terms(), self._clock.utc_s()
        caps, token = terms.ceiling, request.payer.token
        hour_count, _ = self._ledger.approved_since(now - HOUR_S, token=token)
        _, person = self._ledger.approved_since(now - now % DAY_S, token=token)
        _, kiosk = self._ledger.approved_since(now - now % DAY_S, terminal=terminal)
        reasons = (
            ("mode", request.mode not in self._modes),
            ("face_not_allowed", not terms.face_allowed),
            ("currency", money.currency != terms.currency),
            ("order_paid", self._ledger.is_paid(store, request.order_ref)),
            ("over_payment_cap", money.minor > caps.per_payment),
            ("pin_needed", _above(money.minor, caps.pin_above) and "pin" not in request.evidence.methods),
            ("over_person_day_cap", _above(person + money.minor, caps.per_person_day)),
            ("over_kiosk_day_cap", _above(kiosk + money.minor, caps.per_kiosk_day)),
            ("velocity", _above(hour_count + 1, caps.per_person_hour_count)),
        )
        refused = next((code for code, applies in reasons if applies), "")
        return refused or self._account_refusal(token, money)

    def _account_refusal(self, token: str, money: Money) -> str:
        named = self._payers().get(token)
        if token in self._declined or (named is not None and named.blocked):
            return "payer_blocked"
        account = self._ledger.account(token)
        if account is None:
            if named is not None:
                account = (named.currency, named.balance_minor, named.masked)
            elif self._opening is not None:
                account = (money.currency, self._opening, "")
            else:
                return "unknown_payer"
            self._ledger.open_account(token, *account)
        if account[0] != money.currency:
            return "currency"
        return "insufficient_funds" if account[1] < money.minor else ""

    def _undo(self, terminal: str, request: ReversalRequest) -> Treated:
        attempt = self._ledger.attempt(terminal, request.ref)
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
            )
            self._ledger.enter(tombstone, self._clock.utc_s())
        else:
            self._ledger.reverse(attempt, self._clock.utc_s())
        undone = self._ledger.attempt(terminal, request.ref)
        assert undone is not None  # noqa: S101 - written in this transaction
        return Treated(200, self._answer(undone, "reversal"))

    def _answer(
        self, attempt: Attempt, operation: str, *, result: Result | None = None, refresh: bool = False
    ) -> bytes:
        account = self._ledger.account(attempt.token)
        return encode(
            AnswerMessage(
                version=VERSION,
                operation=operation,  # type: ignore[arg-type]  # one of three literals in this file
                ref=attempt.ref,
                result=result or attempt.result,
                code=attempt.code,
                approval=attempt.approval,
                rrn=attempt.rrn,
                masked_payer=(account[2] if account else "") or f"*{attempt.token[-4:]}",
                limits_left=self._left(attempt),
                action="refresh_policy" if refresh else "none",
            )
        )

    def _left(self, attempt: Attempt) -> LimitsLeft:
        caps, now = self._terms().ceiling, self._clock.utc_s()
        midnight = now - now % DAY_S
        _, person = self._ledger.approved_since(midnight, token=attempt.token)
        _, kiosk = self._ledger.approved_since(midnight, terminal=attempt.terminal)
        return LimitsLeft(
            currency=attempt.amount.currency,
            person_day=None if caps.per_person_day is None else max(0, caps.per_person_day - person),
            kiosk_day=None if caps.per_kiosk_day is None else max(0, caps.per_kiosk_day - kiosk),
        )

    def _terms(self) -> Terms:
        return _read(self._folder / "policy.json", Terms) or Terms()

    def _payers(self) -> dict[str, _Payer]:
        return _read(self._folder / "payers.json", dict[str, _Payer]) or {}


def _above(value: int, cap: int | None) -> bool:
    return cap is not None and value > cap


T = TypeVar("T")


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise OperatorError(f"can't be used: {error}", where=str(path), do="Mend or remove it.") from None
