"""The payment machine: everything that changes a payment's state is in this file.

`step(state, event, now) -> (state, effects)` is the one transition function. States and events are frozen
dataclasses; effects are data that the kernel carries out, and what comes back is the next event. A pair that
no row below names leaves the state as it was and does nothing: a late or foreign event can't move money.

    Idle -> Offered -> Looking -> Identified -> Sent -> Approved | Declined | NotSent | Unknown
                       | ^ | `-> SecondFactor -> Identified        Sent -> PinEntry (a wrong PIN)
                       | | |-> PinEntry -> Sent
                       v | `-> Challenged, then as from Looking
                     Refused                      Unknown -> Approved | Declined | Reversing -> Reversed
                                                  Offered, Refused, Declined ... -> OtherMeans

Invariants (tests/domain/test_payment.py drives them with random events):
- `StartCamera` comes out of `PayWithFace` (a press) and out of nothing else.
- A look is challenged at most `MAX_CHALLENGES` times, never twice in a row for the same, and only while its
  camera is on: a challenge begins no look and turns on no camera.
- `Authorise` comes out of a press and out of nothing else, once for each `ref`: `Confirm` in `Identified`,
  or the green key in `PinEntry` (`PinSealed`), which shows amount and payee as well.
- A PIN is in no state and no effect but as what only the acquirer can read.
- Once `Authorise` came out, the state leaves the open three (Sent, Unknown, Reversing) only by a verified
  answer about that `ref` (or, from Sent, by `CouldNotSend`): never by a time-out, a cancel or a new order.
- `Rematch` comes out at most `MAX_DIGITS_TRIES` times for one look, however fast digits are typed.
- Every state but `Idle` has `until`; when it passes, `Tick` moves the state.
- `StopCamera` and `ForgetFace` come out on every way from a look, challenged or not, back to `Idle`.

Times are milliseconds of the kernel's clock; they need not survive a restart: what is open is rebuilt from
the journal as `Unknown` or `Reversing` and due at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, assert_never

from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import Accept, AskSecondFactor, Decision, Factor, Reason, Refuse
from kiosk.domain.limits import NO_LIMITS, Limits
from kiosk.domain.money import Money

# --- values ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """One purchase: `order_ref` is the till's name for it, `payee` stands on the screen."""

    order_ref: str
    amount: Money
    payee: str

    def __post_init__(self) -> None:
        if self.amount.minor <= 0:
            raise ValueError("a payment is more than zero")


@dataclass(frozen=True, slots=True)
class Payer:
    """Who was recognised: an opaque `token` for the acquirer, masked texts for the screen, nothing else.

    `limits`: what this payer allows themselves, under the merchant's and the acquirer's caps.
    `always_second_factor`: another enrolled person looks so much like them that a face is never enough.
    """

    token: str
    masked_name: str
    masked_account: str
    consent_ref: str
    limits: Limits = NO_LIMITS
    always_second_factor: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What supports this payment, in bands, never raw scores (`protocol.md`, evidence)."""

    methods: tuple[str, ...]
    attempts: int
    score_band: str
    margin_band: str
    liveness_band: str
    model_ids: tuple[str, ...]
    gallery_version: int


class Result(StrEnum):
    """What the acquirer says became of an attempt."""

    APPROVED = "approved"
    DECLINED = "declined"
    PENDING = "pending"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verified answer: `code` is the reason; `approval`, `rrn` (ISO 8583 DE 38, 37) are for the receipt."""

    result: Result
    code: str = ""
    approval: str = ""
    rrn: str = ""
    masked_payer: str = ""


class Means(StrEnum):
    """Other ways to pay, equal to the face: the kiosk hands the order over."""

    TILL = "till"
    ACQUIRER_QR = "acquirer_qr"
    STAFF = "staff"


# --- states ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """Nobody is here; the camera is off."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The amount and two equal buttons. No frame is taken.

    `refusal` is there when a look could not help: over a limit, or no payment by face at this place now.
    """

    order: Order
    until: int
    refusal: Refuse | None = None


@dataclass(frozen=True, slots=True)
class Looking:
    """The camera is on, because the payer pressed. `attempt` counts looks from 1."""

    order: Order
    attempt: int
    until: int


@dataclass(frozen=True, slots=True)
class Challenged:
    """Looking alone did not settle it: the payer is asked to do something, and the camera is still on.

    `number` counts the challenges of this look from 1.
    """

    order: Order
    attempt: int
    challenge: Challenge
    number: int
    until: int


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """Digits are asked (`tries` were typed so far); the face's template waits in memory."""

    order: Order
    attempt: int
    factor: Factor
    tries: int
    until: int


@dataclass(frozen=True, slots=True)
class Identified:
    """The confirm page: amount, payee, masked payer, one press. `ref` is the attempt that a press sends."""

    order: Order
    payer: Payer
    evidence: Evidence
    ref: str
    until: int


@dataclass(frozen=True, slots=True)
class PinEntry:
    """The PIN page: amount, payee, masked payer, keypad. `tries`: PINs of this order that were wrong."""

    order: Order
    payer: Payer
    evidence: Evidence
    tries: int
    until: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody was charged and nothing was sent; the payer may look again or pay another way."""

    order: Order
    attempt: int
    refusal: Refuse
    until: int

    @property
    def reason(self) -> Reason:
        return self.refusal.reason


@dataclass(frozen=True, slots=True)
class Sent:
    """The attempt is in the journal and on its way. `tries`: PINs of this order, this one with them.

    `evidence` is the look's, without the PIN: a wrong one leads back to the PIN page.
    """

    order: Order
    payer: Payer
    ref: str
    until: int
    evidence: Evidence | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Approved:
    """The acquirer debited; the receipt is due."""

    order: Order
    ref: str
    answer: Answer
    until: int


@dataclass(frozen=True, slots=True)
class Declined:
    """The acquirer said no; nothing was charged."""

    order: Order
    ref: str
    answer: Answer
    until: int


@dataclass(frozen=True, slots=True)
class NotSent:
    """The acquirer could not be reached before a byte was sent; nothing was charged."""

    order: Order
    ref: str
    until: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Sent, and no verified answer: 'don't pay again, we are checking'. `queries` were made so far."""

    order: Order
    ref: str
    queries: int
    shown_until: int
    until: int


@dataclass(frozen=True, slots=True)
class Reversing:
    """Not final after the last query: the attempt is undone, durably, until the acquirer acknowledges it."""

    order: Order
    ref: str
    tries: int
    shown_until: int
    until: int


@dataclass(frozen=True, slots=True)
class Reversed:
    """Undone and acknowledged: nothing is charged, the order may be paid again."""

    order: Order
    ref: str
    until: int


@dataclass(frozen=True, slots=True)
class OtherMeans:
    """The order was handed over: to the till, to the acquirer's QR, or to staff."""

    order: Order
    means: Means
    until: int


State = (
    Idle | Offered | Looking | Challenged | SecondFactor | Identified | PinEntry | Refused | Sent | Approved
    | Declined | NotSent | Unknown | Reversing | Reversed | OtherMeans
)  # fmt: skip
Watched = Looking | Challenged
"""States of one look in which the camera is on."""
NothingSent = Offered | Looking | Challenged | SecondFactor | Identified | PinEntry | Refused
"""States in which there is an order and nothing of it is under way."""
Over = Approved | Declined | NotSent | Reversed | OtherMeans
"""States that only say how a sale ended: the next order may take their place."""
Open = Sent | Unknown | Reversing
"""States in which money may have moved and the acquirer's word is awaited."""

# --- events ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A till or staff opened an order; `refusal` when the law or a limit already rules the face out."""

    order: Order
    refusal: Refuse | None = None


@dataclass(frozen=True, slots=True)
class PayWithFace:
    """The payer pressed *Pay with face* (also: *Try again*)."""


@dataclass(frozen=True, slots=True)
class PayAnotherWay:
    """The payer pressed *Pay another way*."""

    means: Means


@dataclass(frozen=True, slots=True)
class Cancel:
    """The payer or the till gave up before anything was sent."""


@dataclass(frozen=True, slots=True)
class ChallengeDrawn:
    """Looking alone did not settle it (or the shop always asks): this was drawn for the payer to do."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class Looked:
    """A look (with its challenges, or digits on top of it) ended in a decision.

    `payer` and `evidence` are there when the decision is Accept, or asks a payer who was recognised for their
    PIN; `ref` is a fresh UUIDv7 for the attempt.
    """

    decision: Decision
    payer: Payer | None = None
    evidence: Evidence | None = None
    ref: str = ""


@dataclass(frozen=True, slots=True)
class DigitsTyped:
    """The payer typed the last four digits of their phone number."""

    digits: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """The payer pressed *Pay*."""


@dataclass(frozen=True, slots=True)
class PinSealed:
    """The payer typed a PIN and pressed the green key; it is sealed for the attempt `ref` (compact JWE)."""

    ref: str
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PinImpossible:
    """The PIN that was typed can't be sealed: nobody could read it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A verified answer about `ref`: to the payment itself or to a query."""

    ref: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class AcceptedOffline:
    """The acquirer can't have `ref`, and this kiosk accepted the sale in its name; its advice is written."""

    ref: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer, or one that could not be verified: the outcome is unknown (or still is)."""

    ref: str


@dataclass(frozen=True, slots=True)
class CouldNotSend:
    """The connection was never made: the acquirer cannot have the attempt."""

    ref: str


@dataclass(frozen=True, slots=True)
class ReversalAcknowledged:
    """The acquirer confirmed the reversal of `ref`."""

    ref: str


@dataclass(frozen=True, slots=True)
class Done:
    """The payer or the till has seen the end of it; the screen is free."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = (
    Offer | PayWithFace | PayAnotherWay | Cancel | ChallengeDrawn | Looked | DigitsTyped | Confirm
    | PinSealed | PinImpossible | Answered | AcceptedOffline | NoAnswer | CouldNotSend
    | ReversalAcknowledged | Done | Tick
)  # fmt: skip

# --- effects --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartCamera:
    """Turn the camera on and look, for at most `LOOK_MS`."""


@dataclass(frozen=True, slots=True)
class StopCamera:
    """Turn the camera off."""


@dataclass(frozen=True, slots=True)
class Rematch:
    """Search again among people with these digits."""

    digits: str


@dataclass(frozen=True, slots=True)
class ForgetFace:
    """Overwrite the template and whatever else is left of the look."""


@dataclass(frozen=True, slots=True)
class Authorise:
    """Freeze the request in the journal, then send it. `pin`: encrypted to the acquirer (compact JWE)."""

    order: Order
    payer: Payer
    evidence: Evidence
    ref: str
    pin: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Query:
    """Ask what became of `ref`."""

    ref: str


@dataclass(frozen=True, slots=True)
class Reverse:
    """Freeze the reversal of `ref` in the journal (the first time), then send it (again)."""

    order: Order
    ref: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give the order to another way to pay."""

    order: Order
    means: Means


@dataclass(frozen=True, slots=True)
class Conclude:
    """The attempt is final: write it to the journal, tell the till, make the receipt."""

    order: Order
    ref: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class FreeScreen:
    """The outcome is still open but the next shopper may come: resolve it behind the screen."""


Effect = (
    StartCamera
    | StopCamera
    | Rematch
    | ForgetFace
    | Authorise
    | Query
    | Reverse
    | HandOver
    | Conclude
    | FreeScreen
)

# --- times ----------------------------------------------------------------------------------------------

OFFER_MS: Final = 60_000
LOOK_MS: Final = 15_000
"""`experience.md`: a look is never longer than 15 s."""
NOTICE_MS: Final = 3_000
"""How long a flash is announced before its first colour: time to cancel or to choose another way."""
CHALLENGE_AIR_MS: Final = 3_000
"""For the request to come onto the screen and its answer to be judged: the look's own end comes first."""
FACTOR_MS: Final = 30_000
CONFIRM_MS: Final = 20_000
PIN_MS: Final = 45_000
REFUSED_MS: Final = 20_000
ANSWER_MS: Final = 20_000
"""Connect 3 s and answer 15 s (`protocol.md`), and some air: the client's own time-outs come first."""
RESULT_MS: Final = 20_000
"""Long enough to scan a receipt; the next order, *Done* or the next shopper's till ends it sooner."""
UNKNOWN_SHOWN_MS: Final = 60_000
QUERY_DELAYS_MS: Final = (2_000, 4_000, 8_000, 15_000)
"""`protocol.md`: query after 2, 4, 8, 15 s."""
REVERSAL_DELAYS_MS: Final = (5_000, 10_000, 30_000, 60_000, 300_000)
"""Between tries of a reversal that is not acknowledged; the last one repeats for ever."""
MAX_LOOKS: Final = 3
MAX_CHALLENGES: Final = 3
"""Of one look: another one where the first settled nothing, and a blink after a flash."""
MAX_DIGITS_TRIES: Final = 3
MAX_PINS: Final = 3
"""Of one order; the acquirer counts over all orders."""
WRONG_PIN: Final = "wrong_pin"
"""The acquirer's code: a final decline of that attempt, and the payer may type again."""

NOTHING: Final[tuple[Effect, ...]] = ()
END_OF_LOOK: Final[tuple[Effect, ...]] = (StopCamera(), ForgetFace())

# --- the machine ----------------------------------------------------------------------------------------


def step(state: State, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    """The next state and what has to be done, in order. Pure; the same arguments give the same result."""
    match state:
        case Idle():
            return _idle(state, event, now)
        case Offered():
            return _offered(state, event, now)
        case Looking():
            return _looking(state, event, now)
        case Challenged():
            return _challenged(state, event, now)
        case SecondFactor():
            return _second_factor(state, event, now)
        case Identified():
            return _identified(state, event, now)
        case PinEntry():
            return _pin_entry(state, event, now)
        case Refused():
            return _refused(state, event, now)
        case Sent():
            return _sent(state, event, now)
        case Unknown():
            return _unknown(state, event, now)
        case Reversing():
            return _reversing(state, event, now)
        case Declined() | NotSent() | Reversed():
            return _not_charged(state, event, now)
        case Approved() | OtherMeans():
            return _over(state, event, now)
        case _:
            assert_never(state)


def recovered(order: Order, ref: str, *, reversing: bool, now: int) -> Open:
    """An attempt that the journal holds as open after a restart: due at once, nobody is at the screen."""
    if reversing:
        return Reversing(order, ref, tries=0, shown_until=now, until=now)
    return Unknown(order, ref, queries=0, shown_until=now, until=now)


def _idle(state: Idle, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Offer(order, refusal):
            return Offered(order, now + OFFER_MS, refusal), NOTHING
    return state, NOTHING


def _offered(state: Offered, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case PayWithFace() if state.refusal:
            return Refused(state.order, 0, state.refusal, now + REFUSED_MS), NOTHING
        case PayWithFace():
            return Looking(state.order, 1, now + LOOK_MS), (StartCamera(),)
        case PayAnotherWay(means):
            return _hand_over(state.order, means, now)
        case Cancel():
            return Idle(), NOTHING
        case Tick() if now >= state.until:
            return Idle(), NOTHING
    return state, NOTHING


def _looking(state: Looking, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case ChallengeDrawn(challenge):
            return _challenge(state, challenge, 1, now), NOTHING
    return _watched(state, event, now)


def _challenged(state: Challenged, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case ChallengeDrawn(challenge) if (
            state.number < MAX_CHALLENGES and challenge.kind is not state.challenge.kind
        ):
            return _challenge(state, challenge, state.number + 1, now), NOTHING
    return _watched(state, event, now)


def _challenge(state: Watched, challenge: Challenge, number: int, now: int) -> Challenged:
    return Challenged(state.order, state.attempt, challenge, number, now + challenge_ms(challenge))


def challenge_ms(challenge: Challenge) -> int:
    """How long a challenge may take in all, from the moment it is asked for."""
    notice = NOTICE_MS if challenge.kind is ChallengeKind.FLASH else 0
    return notice + challenge.timeout_ms + CHALLENGE_AIR_MS


def _watched(state: Watched, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    """What ends a look, whether it was challenged or not."""
    match event:
        case Looked():
            return _looked(state.order, state.attempt, event, now, tries=0)
        case PayAnotherWay(means):
            after, effects = _hand_over(state.order, means, now)
            return after, END_OF_LOOK + effects
        case Cancel():
            return Idle(), END_OF_LOOK
        case Tick() if now >= state.until:
            challenged = isinstance(state, Challenged)
            refusal = Refuse(Reason.LIVENESS_UNSURE if challenged else Reason.TIMED_OUT)
            return Refused(state.order, state.attempt, refusal, now + REFUSED_MS), END_OF_LOOK
    return state, NOTHING


def _looked(
    order: Order, attempt: int, event: Looked, now: int, *, tries: int
) -> tuple[State, tuple[Effect, ...]]:
    decision = event.decision
    match decision:
        case Accept() if event.payer and event.evidence and event.ref:
            state = Identified(order, event.payer, event.evidence, event.ref, now + CONFIRM_MS)
            return state, END_OF_LOOK
        case AskSecondFactor(Factor.DIGITS) if tries < MAX_DIGITS_TRIES:
            return SecondFactor(order, attempt, Factor.DIGITS, tries, now + FACTOR_MS), (StopCamera(),)
        case AskSecondFactor(Factor.PIN) if event.payer and event.evidence:
            return PinEntry(order, event.payer, event.evidence, 0, now + PIN_MS), END_OF_LOOK
        case AskSecondFactor(Factor.PIN):
            refusal = Refuse(Reason.PIN_NEEDED)
        case Refuse():
            refusal = decision
        case _:  # Accept without a payer, or digits asked once more than allowed
            refusal = Refuse(Reason.NOT_RECOGNISED)
    return Refused(order, attempt, refusal, now + REFUSED_MS), END_OF_LOOK


def _second_factor(state: SecondFactor, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case DigitsTyped(digits) if state.tries < MAX_DIGITS_TRIES and _four_digits(digits):
            tried = replace(state, tries=state.tries + 1, until=now + FACTOR_MS)
            return tried, (Rematch(digits),)
        case Looked(Refuse(Reason.NOT_RECOGNISED)) if 0 < state.tries < MAX_DIGITS_TRIES:
            return replace(state, until=now + FACTOR_MS), NOTHING  # a typing mistake: ask again
        case Looked() if state.tries:
            return _looked(state.order, state.attempt, event, now, tries=state.tries)
        case PayAnotherWay(means):
            after, effects = _hand_over(state.order, means, now)
            return after, (ForgetFace(), *effects)
        case Cancel():
            return Idle(), END_OF_LOOK
        case Tick() if now >= state.until:
            return Idle(), END_OF_LOOK
    return state, NOTHING


def _four_digits(text: str) -> bool:
    return len(text) == 4 and text.isascii() and text.isdigit()


def _identified(state: Identified, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Confirm():
            sent = Sent(state.order, state.payer, state.ref, now + ANSWER_MS)
            return sent, (Authorise(state.order, state.payer, state.evidence, state.ref),)
        case PayAnotherWay(means):
            return _hand_over(state.order, means, now)
        case Cancel():
            return Idle(), NOTHING
        case Tick() if now >= state.until:  # auto-cancels, never auto-confirms
            return Idle(), NOTHING
    return state, NOTHING


def _pin_entry(state: PinEntry, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case PinSealed(ref, sealed):
            sent = Sent(state.order, state.payer, ref, now + ANSWER_MS, state.evidence, state.tries + 1)
            evidence = replace(state.evidence, methods=(*state.evidence.methods, Factor.PIN.value))
            return sent, (Authorise(state.order, state.payer, evidence, ref, sealed),)
        case PinImpossible():
            refusal = Refuse(Reason.PIN_NEEDED)
            return Refused(state.order, MAX_LOOKS, refusal, now + REFUSED_MS), NOTHING
        case PayAnotherWay(means):
            return _hand_over(state.order, means, now)
        case Cancel():
            return Idle(), NOTHING
        case Tick() if now >= state.until:
            return Idle(), NOTHING
    return state, NOTHING


def _refused(state: Refused, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case PayWithFace() if may_look_again(state):
            return Looking(state.order, state.attempt + 1, now + LOOK_MS), (StartCamera(),)
        case PayAnotherWay(means):
            return _hand_over(state.order, means, now)
        case Cancel() | Done():
            return Idle(), NOTHING
        case Tick() if now >= state.until:
            return Idle(), NOTHING
    return state, NOTHING


def may_look_again(state: Refused) -> bool:
    """Whether *Try again* is offered: not after the last look, and not where another look can't help."""
    final = (
        Reason.OVER_LIMIT,
        Reason.PIN_NEEDED,
        Reason.FACE_NOT_ALLOWED,
        Reason.LOCKED,
        Reason.GALLERY_STALE,
    )
    return state.attempt < MAX_LOOKS and state.reason not in final


def _sent(state: Sent, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Answered(ref, Answer(Result.DECLINED, code) as answer) if (
            ref == state.ref and code == WRONG_PIN and state.evidence and 0 < state.tries < MAX_PINS
        ):
            again = PinEntry(state.order, state.payer, state.evidence, state.tries, now + PIN_MS)
            return again, (Conclude(state.order, ref, answer),)
        case AcceptedOffline(ref, answer) if ref == state.ref and not state.tries:
            return _final(state.order, ref, answer, now)
        case Answered(ref, answer) if ref == state.ref and answer.result is not Result.PENDING:
            return _final(state.order, ref, answer, now)
        case CouldNotSend(ref) if ref == state.ref:
            not_sent = Answer(Result.DECLINED, code="not_sent")
            return NotSent(state.order, ref, now + RESULT_MS), (Conclude(state.order, ref, not_sent),)
        case Answered(ref) | NoAnswer(ref) if ref == state.ref:
            return _unknown_from(state, now), NOTHING
        case Tick() if now >= state.until:
            return _unknown_from(state, now), NOTHING
    return state, NOTHING


def _unknown_from(state: Sent, now: int) -> Unknown:
    return Unknown(state.order, state.ref, 0, now + UNKNOWN_SHOWN_MS, now + QUERY_DELAYS_MS[0])


def _final(order: Order, ref: str, answer: Answer, now: int) -> tuple[State, tuple[Effect, ...]]:
    """A verified answer that is not 'pending' ends the attempt."""
    effects = (Conclude(order, ref, answer),)
    match answer.result:
        case Result.APPROVED:
            return Approved(order, ref, answer, now + RESULT_MS), effects
        case Result.REVERSED:
            return Reversed(order, ref, now + RESULT_MS), effects
        case _:
            return Declined(order, ref, answer, now + RESULT_MS), effects


def _unknown(state: Unknown, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Answered(ref, answer) if ref == state.ref and answer.result is not Result.PENDING:
            return _final(state.order, ref, answer, now)
        case Done():
            return state, (FreeScreen(),)
        case Tick() if now >= state.until and state.queries < len(QUERY_DELAYS_MS):
            # The delays are between queries; after the last one the answer still has its time to come.
            following = (*QUERY_DELAYS_MS[1:], ANSWER_MS)[state.queries]
            asked = replace(state, queries=state.queries + 1, until=now + following)
            return asked, (Query(state.ref), *_free_when_due(state, now))
        case Tick() if now >= state.until:
            reversing = Reversing(state.order, state.ref, 1, state.shown_until, now + REVERSAL_DELAYS_MS[0])
            return reversing, (Reverse(state.order, state.ref), *_free_when_due(state, now))
        case Tick():
            return state, _free_when_due(state, now)
    return state, NOTHING


def _reversing(state: Reversing, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case ReversalAcknowledged(ref) if ref == state.ref:
            answer = Answer(Result.REVERSED, code="reversed")
            return Reversed(state.order, ref, now + RESULT_MS), (Conclude(state.order, ref, answer),)
        case Done():
            return state, (FreeScreen(),)
        case Tick() if now >= state.until:
            delay = REVERSAL_DELAYS_MS[min(state.tries, len(REVERSAL_DELAYS_MS) - 1)]
            again = replace(state, tries=state.tries + 1, until=now + delay)
            return again, (Reverse(state.order, state.ref), *_free_when_due(state, now))
        case Tick():
            return state, _free_when_due(state, now)
    return state, NOTHING


def _free_when_due(state: Unknown | Reversing, now: int) -> tuple[Effect, ...]:
    return (FreeScreen(),) if now >= state.shown_until else NOTHING


def _not_charged(
    state: Declined | NotSent | Reversed, event: Event, now: int
) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Offer(order, refusal):
            return Offered(order, now + OFFER_MS, refusal), NOTHING
        case PayAnotherWay(means):
            return _hand_over(state.order, means, now)
        case Done() | Cancel():
            return Idle(), NOTHING
        case Tick() if now >= state.until:
            return Idle(), NOTHING
    return state, NOTHING


def _over(state: Approved | OtherMeans, event: Event, now: int) -> tuple[State, tuple[Effect, ...]]:
    match event:
        case Offer(order, refusal):
            return Offered(order, now + OFFER_MS, refusal), NOTHING
        case Done():
            return Idle(), NOTHING
        case Tick() if now >= state.until:
            return Idle(), NOTHING
    return state, NOTHING


def _hand_over(order: Order, means: Means, now: int) -> tuple[State, tuple[Effect, ...]]:
    return OtherMeans(order, means, now + RESULT_MS), (HandOver(order, means),)
