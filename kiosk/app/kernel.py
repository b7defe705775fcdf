"""The kernel: the one thread that changes a payment's state, and the hands of the payment machine.

It takes the next message from its queue, calls `domain.payment.step`, writes what must be durable to the
journal, and only then carries out the effects. Camera, acquirer and devices have workers of their own that
never touch a state: what they find comes back as a message. Open outcomes that the screen no longer shows go
on here, through the same `step`, behind the next sale.

    post() -> queue -> handle() -> step() -> journal (fsync) -> effects -> workers -> post()
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from kiosk.acquirer.client import Lost, PolicyReceived, Reply, ReversalConfirmed, Unsent, Verified
from kiosk.acquirer.journal import Journal, PaymentEntry, Task
from kiosk.acquirer.messages import (
    Exchange,
    Terminal,
    new_ref,
    payment_request,
    policy_request,
    reversal_request,
    status_request,
)
from kiosk.acquirer.pin import seal_pin
from kiosk.domain import limits, lockout
from kiosk.domain.challenge import Challenge
from kiosk.domain.decision import (
    Accept,
    AskSecondFactor,
    Candidate,
    Decision,
    Factor,
    LookOutcome,
    Reason,
    Refuse,
    Thresholds,
    decide,
    within_limits,
)
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.payment import (
    WRONG_PIN,
    AcceptedOffline,
    Answer,
    Answered,
    Authorise,
    ChallengeDrawn,
    Conclude,
    CouldNotSend,
    Effect,
    Event,
    Evidence,
    ForgetFace,
    FreeScreen,
    HandOver,
    Idle,
    Looked,
    Means,
    NoAnswer,
    NothingSent,
    Offer,
    Order,
    Over,
    Payer,
    PinEntry,
    PinImpossible,
    PinSealed,
    Query,
    Rematch,
    Result,
    ReversalAcknowledged,
    Reverse,
    Reversing,
    Sent,
    StartCamera,
    State,
    StopCamera,
    Tick,
    Unknown,
    Watched,
    recovered,
    step,
)
from kiosk.domain.pin import PinTyped
from kiosk.domain.ports import Clock, TillLink
from kiosk.domain.receipt import BOOKED, Receipt, outcome_of

__all__ = ["Acquirer", "Kernel", "LookChallenge", "LookDone", "Looker", "People", "Setting"]

TICK_MS: Final = 250
"""How often time-outs are looked at."""
POLICY_MS: Final = 600_000
"""How often the acquirer is asked for its policy; an answer that names a newer one brings it at once."""
FIRST_POLICY_MS: Final = 15_000
"""The same while there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class LookDone:
    """What the camera's worker found: an outcome, and the payer's probe when there is exactly one face.

    `probe`: float32[d], L2-normalised; `liveness` in [0, 1], None when it could not be measured. `look` is
    the number that `Looker.start` was given: a look that was cancelled meanwhile is dropped by it.
    """

    look: int
    outcome: LookOutcome
    probe: NDArray[np.float32] | None = field(repr=False)
    liveness: float | None
    model_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LookChallenge:
    """Look number `look` isn't sure (or the shop always asks): the payer is to do this, before the camera."""

    look: int
    challenge: Challenge


class Looker(Protocol):
    """Turns the camera on, looks, and tells from its own thread how it ended, unless stopped before.

    `tell` is called once with a `LookDone`, and before it for each challenge of the look.
    """

    def start(self, look: int, tell: Callable[[LookDone | LookChallenge], None]) -> None: ...

    def stop(self) -> None: ...


class People(Protocol):
    """Who is enrolled here (`kiosk.gallery`)."""

    @property
    def version(self) -> int: ...

    def search(self, probe: NDArray[np.float32], digits: str | None) -> tuple[Candidate, ...]: ...

    def searched(self, digits: str | None) -> int: ...

    def payer(self, token: str) -> Payer | None: ...

    def has_digits(self, token: str, digits: str) -> bool: ...


class Acquirer(Protocol):
    """Sends frozen exchanges from a worker thread, the call in front before those behind, and calls back."""

    def submit(self, exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change during a sale: terminal, policy, the merchant's caps, thresholds, time zone."""

    terminal: Terminal
    policy: limits.Policy | None
    merchant: limits.Limits
    thresholds: Thresholds
    timezone: ZoneInfo


@dataclass(frozen=True, slots=True)
class _Replied:
    """A worker's reply about `ref`; `operation` is the exchange's."""

    ref: str
    operation: str
    reply: Reply


Work = Callable[[], None]
"""Something that must be done on the kernel's thread, beside the payment that is under way."""
Message = Event | PinTyped | LookDone | LookChallenge | _Replied | Work


class Kernel:
    """See the module's text. Not thread-safe but for `post`."""

    def __init__(
        self,
        setting: Setting,
        *,
        clock: Clock,
        journal: Journal,
        acquirer: Acquirer,
        looker: Looker,
        people: People,
        till: TillLink,
        on_state: Callable[[State], None] = lambda state: None,
        accept_policy: Callable[[bytes], limits.Policy] | None = None,
        check_key: Callable[[], None] = lambda: None,
        is_over: Callable[[limits.Policy, float], bool] = lambda policy, now_s: policy.expires_s <= now_s,
    ) -> None:
        self.setting = setting
        self.state: State = Idle()
        self.behind: dict[str, Unknown | Reversing] = {}
        """Open outcomes that no screen shows, by ref."""
        self.merchant: Callable[[], limits.Limits] = lambda: self.setting.merchant
        """The merchant's caps as they are now. OperatorError while nobody can tell: no payment by face."""
        self.keeps_screen = False
        """Without a screen nobody waits for it: an open outcome stays in `state` until its end."""
        self.last_receipt: Receipt | None = None
        """The one of the last sale that ended on the screen."""
        self.failure: OperatorError | None = None
        """The last trouble with journal, gallery or key, for staff."""
        self._clock, self._journal, self._acquirer = clock, journal, acquirer
        self._looker, self._people, self._till = looker, people, till
        self.on_state = on_state
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._look = 0
        self._found: LookDone | None = None
        self._masked: dict[str, str] = {}
        self._unwritten: set[str] = set()
        self._accept_policy, self._check_key, self._is_over = accept_policy, check_key, is_over
        self._policy_due = clock.monotonic_ms() + (POLICY_MS if setting.policy else FIRST_POLICY_MS)
        self.on_policy: Callable[[limits.Policy], None] = lambda policy: None
        """Told the policy that came, from the kernel's thread."""
        self.offline: Callable[[Authorise], Answer | None] = lambda effect: None
        """Asked when a payment could not be sent: the answer in the acquirer's name, written, or None."""
        self.gallery_is_stale: Callable[[], bool] = lambda: False
        """Asked at each offer and look: nobody pays by face among people who may have withdrawn."""
        self._on_its_way: Authorise | None = None
        self._guesses = 0
        """Wrong digits of the order that is on the screen."""
        self.on_tick: list[Work] = []
        """Called at each tick, on the kernel's thread: whoever has something due looks at the clock there."""
        self._recover()

    # --- the loop ---------------------------------------------------------------------------------------

    def post(self, message: Message) -> None:
        """Hand a message to the kernel; any thread may call it, and it never waits."""
        self._queue.put(message)

    def stop(self) -> None:
        """Let `run` return after what is queued before it."""
        self._queue.put(None)

    def run(self, until: Callable[[State], bool] = lambda state: False) -> None:
        """Handle messages until `stop`, or until a state satisfies `until`."""
        due = self._clock.monotonic_ms() + TICK_MS
        while not until(self.state) and (message := self._next(due)) is not None:
            self.handle(message)
            if isinstance(message, Tick):
                due = self._clock.monotonic_ms() + TICK_MS

    def _next(self, due: int) -> Message | None:
        """The next message, and at `due` a `Tick`, however many messages there are."""
        left_ms = due - self._clock.monotonic_ms()
        if left_ms <= 0:
            return Tick()
        try:
            return self._queue.get(timeout=left_ms / 1000)
        except queue.Empty:
            return Tick()

    def handle(self, message: Message) -> None:
        """Carry one message to its end: step, journal, effects. The tests' way in, with a virtual clock."""
        match message:
            case LookDone() if self._is_of_this_look(message):
                self._found = message
                if message.outcome is LookOutcome.ATTACK:
                    self._failed(lockout.ATTACKS)
                self._step(self._looked(digits=None))
            case LookDone():  # of a look that was ended meanwhile: it belongs to nobody
                _overwrite(message)
            case LookChallenge():
                if self._is_of_this_look(message):
                    self._step(ChallengeDrawn(message.challenge))
            case _Replied():
                event = self._understood(message)
                if event is not None:
                    self._step(event)
            case Tick():
                self._refresh_policy()
                self._step(message)
                for ref in tuple(self.behind):
                    self._step_behind(ref, message)
                for work in self.on_tick:
                    work()
            case Offer():
                self._offered(message)
            case PinTyped():
                self._pin_typed(message)
            case _ if callable(message):
                message()
            case _:
                self._step(message)

    def _is_of_this_look(self, message: LookDone | LookChallenge) -> bool:
        return message.look == self._look and isinstance(self.state, Watched)

    def _step(self, event: Event) -> None:
        ref = getattr(event, "ref", "")
        if ref in self.behind:
            self._step_behind(ref, event)
            return
        before = self.state
        shown, effects = step(before, event, self._clock.monotonic_ms())
        if not self._written(effects):
            return
        self.state = shown
        if isinstance(shown, Idle) and isinstance(before, NothingSent):
            self._give_back(before.order)
        for effect in effects:
            self._do(effect)
        if shown is not before and self.state is shown:
            self.on_state(shown)

    def _step_behind(self, ref: str, event: Event) -> None:
        state, effects = step(self.behind[ref], event, self._clock.monotonic_ms())
        if not self._written(effects):
            return
        if isinstance(state, Unknown | Reversing):
            self.behind[ref] = state
        else:
            del self.behind[ref]
        for effect in effects:
            if not isinstance(effect, FreeScreen):
                self._do(effect)

    def _written(self, effects: tuple[Effect, ...]) -> bool:
        """Write the end of an attempt before anybody is told of it.

        False when the journal fails: an end that can't be written down was not heard. The state stays as it
        was, so that the machine asks again, and no restart comes to another end than the one that was told.
        """
        for effect in effects:
            if isinstance(effect, Conclude) and effect.ref not in self._unwritten:
                try:
                    self._journal.conclude(effect.ref, effect.answer)
                except OperatorError as failure:
                    self.failure = failure
                    return False
        return True

    def _recover(self) -> None:
        """Take up what the journal holds as open: each is asked for at once, behind the screen."""
        now = self._clock.monotonic_ms()
        for attempt in self._journal.open_attempts():
            state = recovered(attempt.order, attempt.ref, reversing=attempt.reversing, now=now)
            if isinstance(state, Unknown | Reversing):
                self.behind[attempt.ref] = state
        # The process may have died between an end's writing and its telling: the last one is told again.
        last = self._journal.last_end()
        if last is not None and last.answer is not None:
            self._note_receipt(last, last.answer)
            self._till.concluded(last.order, last.ref, last.answer.result, last.answer)

    def attempts_of(self, order_ref: str) -> list[PaymentEntry]:
        """What the journal holds of one order, the newest attempt first."""
        return self._journal.attempts_of(order_ref)

    def tasks_of(self, ref: str) -> list[Task]:
        """What came after the attempt `ref`: refunds, disputes, the advice of an offline sale."""
        return self._journal.tasks_of(ref)

    def digits_fit(self, token: str, digits: str) -> bool:
        """Whether `token` is one of those whose phone number ends in `digits`."""
        return self._people.has_digits(token, digits)

    # --- effects ----------------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        match effect:
            case StartCamera():
                self._look += 1
                self._looker.start(self._look, self.post)
            case StopCamera():
                self._looker.stop()
            case ForgetFace():
                self._forget_face()
            case Rematch(digits):
                self._step(self._looked(digits=digits))
            case Authorise():
                self._authorise(effect)
            case Query(ref):
                self._submit(status_request(ref), behind=True)
            case Reverse(order, ref):
                self._reverse(order, ref)
            case HandOver(order, means):
                if means is Means.TILL:
                    self._give_back(order)
            case Conclude():
                self._conclude(effect)
            case FreeScreen() if not self.keeps_screen:
                if isinstance(self.state, Unknown | Reversing):
                    self.behind[self.state.ref] = self.state
                self.state = Idle()
                self.on_state(self.state)

    def _forget_face(self) -> None:
        self._look += 1  # a result that is still under way belongs to nobody
        if self._found is not None:
            _overwrite(self._found)
        self._found = None

    def _authorise(self, effect: Authorise) -> None:
        """The order of these lines is the promise: frozen and durable first, sent second."""
        now, policy = self._clock.utc_s(), self.setting.policy
        try:
            self._check_again(effect)
            exchange = payment_request(
                self.setting.terminal,
                effect,
                sequence=self._journal.next_sequence(),
                batch=self._journal.batch(self._today()),
                created_utc=now,
                confirmed_at=now,
                policy_version=policy.version if policy else 0,
                previous=self._journal.last_hash,
            )
            self._journal.open_attempt(effect, exchange, day=self._today())
        except OperatorError as failure:
            # Not in the journal, so it must not be sent: a name that the protocol does not carry, an order
            # that is open or paid (`OrderNotFinal`), a full disk.
            self.failure = failure
            self._unwritten.add(effect.ref)
            self.post(CouldNotSend(effect.ref))
            return
        self._masked[effect.ref] = effect.payer.masked_name
        self._on_its_way = effect
        self._submit(exchange, behind=False)

    def _check_again(self, effect: Authorise) -> None:
        """The caps at the press: since the look, the clock may have been set back into a day that is used up.

        OperatorError: over one of them.
        """
        verdict = self._verdict(effect.order, effect.payer)
        if isinstance(verdict, limits.OverLimit):
            raise OperatorError(f"over {verdict.kind.value} since the look", do="Check the clock.")

    def _not_sent(self, ref: str, *, answered: bool) -> Event:
        """Never reached the acquirer: accepted in its name where it allows that, else nothing is charged.

        `answered`: somebody was there, and TLS failed: that is no acquirer that can't be reached. Where it is
        told too late (a name that nobody resolves takes long), the payer was told that it is not final, and a
        reversal may be written: then nothing is accepted any more.
        """
        effect, self._on_its_way = self._on_its_way, None
        awaited = isinstance(self.state, Sent) and self.state.ref == ref
        if effect is None or effect.ref != ref or effect.pin is not None or answered or not awaited:
            return CouldNotSend(ref)
        try:
            answer = self.offline(effect)
        except OperatorError as failure:
            self.failure, answer = failure, None
        return CouldNotSend(ref) if answer is None else AcceptedOffline(ref, answer)

    def _pin_typed(self, typed: PinTyped) -> None:
        """Seal the PIN for a fresh attempt, and overwrite it: it goes no further than this."""
        policy = self.setting.policy
        try:
            if self._takes_pin() and policy is not None and policy.pin_key is not None:
                ref = new_ref(self._clock)
                event: Event = PinSealed(ref, seal_pin(typed.pin, ref, policy.pin_key))
            else:
                event = PinImpossible()
        except OperatorError as failure:
            self.failure, event = failure, PinImpossible()
        finally:
            typed.pin.wipe()
        self._step(event)

    def _takes_pin(self) -> bool:
        """A PIN page is shown, and wrong PINs typed on it have not locked its payer since."""
        shown = self.state
        return isinstance(shown, PinEntry) and not isinstance(
            self._standing(lockout.of_payer(shown.payer.token)), lockout.Locked
        )

    def _reverse(self, order: Order, ref: str) -> None:
        """Frozen and durable first here too; what can't be written now is tried again with the next one."""
        try:
            frozen = self._journal.exchange(ref, "reversal")
            attempt = self._journal.payment(ref)
            if frozen is None and attempt is not None:
                frozen = reversal_request(
                    self.setting.terminal,
                    order,
                    ref,
                    sequence=self._journal.next_sequence(),
                    batch=attempt.batch,
                    created_utc=self._clock.utc_s(),
                    previous=self._journal.last_hash,
                )
                self._journal.open_reversal(ref, frozen)
        except OperatorError as failure:
            self.failure = failure
            return
        if frozen is not None:
            self._submit(frozen, behind=True)

    def _submit(self, exchange: Exchange, *, behind: bool) -> None:
        def done(reply: Reply) -> None:
            self.post(_Replied(exchange.ref, exchange.operation, reply))

        self._acquirer.submit(exchange, done, behind=behind)

    def _understood(self, message: _Replied) -> Event | None:
        """What a reply means for the payment; None when it changes nothing (the machine asks again)."""
        match message.operation, message.reply:
            case "policy", PolicyReceived(jws):
                self._policy_came(jws)
            case "payment" | "status", Verified(Answer() as answer, refresh_policy):
                if refresh_policy:
                    self._policy_due = self._clock.monotonic_ms()
                self._judge_guess(message.ref, answer)
                return Answered(message.ref, answer)
            case "payment", Lost(code=code):
                if code == "sequence_reused":  # an older copy of the journal was put back
                    self._explained(partial(self._journal.halt, code))
                return NoAnswer(message.ref)
            case "payment", Unsent(code=code):
                return self._not_sent(message.ref, answered=bool(code))
            case "reversal", ReversalConfirmed():
                return ReversalAcknowledged(message.ref)
        return None

    def _conclude(self, effect: Conclude) -> None:
        self._unwritten.discard(effect.ref)
        if self._on_its_way is not None and self._on_its_way.ref == effect.ref:
            self._on_its_way = None  # with the PIN that only the acquirer could read
        policy = self.setting.policy
        entry = self._entry(effect.ref)
        sold_s = self._clock.utc_s() if entry is None else entry.at  # what a copy of it says too
        receipt = Receipt.of(
            effect.order,
            effect.ref,
            effect.answer,
            terminal_id=self.setting.terminal.terminal_id,
            mode=self.setting.terminal.mode,
            when=datetime.fromtimestamp(sold_s, self.setting.timezone),
            masked_payer=self._masked.pop(effect.ref, ""),
            provider=policy.provider if policy else "",
            licence=policy.licence if policy else "",
        )
        if getattr(self.state, "ref", "") == effect.ref:  # not of a sale that ended behind the next one
            self.last_receipt = receipt
        self._note_receipt(entry, effect.answer)
        self._till.concluded(effect.order, effect.ref, effect.answer.result, effect.answer)

    def _entry(self, ref: str) -> PaymentEntry | None:
        try:
            return self._journal.payment(ref)
        except OperatorError as failure:
            self.failure = failure
            return None

    def _note_receipt(self, entry: PaymentEntry | None, answer: Answer) -> None:
        """Count the receipt that was made: what a close compares with the journal and the acquirer."""
        kind = BOOKED.get(outcome_of(answer))
        if kind is None or entry is None:
            return
        money = entry.order.amount
        try:
            self._journal.note_receipt(
                entry.ref, kind, 1, money.minor, money.currency, entry.batch, copy=False
            )
        except OperatorError as failure:
            self.failure = failure

    # --- policy -----------------------------------------------------------------------------------------

    def _refresh_policy(self) -> None:
        """A kiosk that runs for days follows its acquirer, and its policy does not run out under it.

        One that started without a policy (no network yet, say) asks more often.
        """
        now, policy = self._clock.monotonic_ms(), self.setting.policy
        if policy is not None:
            self._is_over(policy, self._clock.utc_s())  # noted, so that no clock set back revives it
        if self._accept_policy and now >= self._policy_due:
            self._policy_due = now + (POLICY_MS if self.setting.policy else FIRST_POLICY_MS)
            self._submit(policy_request(), behind=True)

    def _policy_came(self, jws: bytes) -> None:
        if self._accept_policy is None:
            return
        try:
            policy = self._accept_policy(jws)
        except ProtocolError:
            return  # not its signature, or an older one: the policy in force stays
        except OperatorError as failure:
            self.failure = failure
            return
        self.setting = replace(self.setting, policy=policy)
        self.on_policy(policy)

    # --- judgement --------------------------------------------------------------------------------------

    def _offered(self, offer: Offer) -> None:
        """Say before the first look what a look could not change: the law, an expired policy, a cap."""
        shown = self.state
        if isinstance(shown, Idle) or (
            isinstance(shown, Over) and shown.order.order_ref != offer.order.order_ref
        ):
            self.failure, self._guesses = None, 0
            self._step(replace(offer, refusal=self.refusal_of(offer.order)))
        elif shown.order.order_ref != offer.order.order_ref:
            self._give_back(offer.order)  # busy; a repeat of the order that is on the screen needs no answer

    def _give_back(self, order: Order) -> None:
        """The order is the till's again, unless somebody paid it here or may have."""
        try:
            closed = self._journal.is_paid_or_open(order.order_ref)
        except OperatorError as failure:
            self.failure, closed = failure, True
        if closed:
            self._till.not_to_be_paid(order)
        else:
            self._till.handed_back(order)

    def refusal_of(self, order: Order) -> Refuse | None:
        """Why `order` can't be paid by face whoever looks; None when it can."""
        verdict = self._verdict(order)
        if verdict is None:
            return self._closed()
        if self.gallery_is_stale():
            return Refuse(Reason.GALLERY_STALE)
        if isinstance(attacked := self._standing(lockout.ATTACKS), lockout.Locked):
            return self._locked(attacked)
        return Refuse(Reason.OVER_LIMIT, verdict) if isinstance(verdict, limits.OverLimit) else None

    def _closed(self) -> Refuse:
        """No payment by face at all; where the law of the place says so, in its words."""
        policy = self.setting.policy
        note = policy.law_note if policy is not None and not policy.face_allowed else ""
        return Refuse(Reason.FACE_NOT_ALLOWED, note=note)

    def _verdict(self, order: Order, payer: Payer | None = None) -> limits.Verdict | None:
        """What the caps say of `order` now, for `payer` or for anybody; None: no payment by face at all."""
        policy = self.setting.policy
        if (
            policy is None
            or not policy.face_allowed
            or self._is_over(policy, self._clock.utc_s())
            or policy.currency != order.amount.currency
        ):
            return None
        try:
            self._check_key()  # what could not be signed is not begun
            self._journal.check()
            if self._journal.is_paid_or_open(order.order_ref):
                return None
            spent = self._journal.spent(payer.token if payer else "", self._now_s(), self._today())
            merchant = self.merchant()
        except OperatorError as failure:
            self.failure = failure
            return None
        own = payer.limits if payer else limits.NO_LIMITS
        return limits.check(order.amount, spent, policy.ceiling, policy.law, merchant, own)

    def _looked(self, digits: str | None) -> Looked:
        """From a look (and digits) to the machine's event: search, decide, then hold it against the caps."""
        found, order = self._found, getattr(self.state, "order", None)
        if found is None or order is None:
            return Looked(Refuse(Reason.NO_FACE))
        if self.gallery_is_stale():
            return Looked(Refuse(Reason.GALLERY_STALE))
        try:
            candidates = () if found.probe is None else self._people.search(found.probe, digits)
        except OperatorError as failure:  # another process left a gallery that can't be believed
            self.failure = failure
            return Looked(Refuse(Reason.FACE_NOT_ALLOWED))
        decision: Decision = decide(
            found.outcome,
            candidates,
            gallery_size=self._people.searched(digits),
            thresholds=self.setting.thresholds,
            digits_given=digits is not None,
        )
        if not isinstance(decision, Accept):
            return Looked(self._after_a_guess(decision, digits))
        payer = self._people.payer(decision.token)
        verdict = self._verdict(order, payer)
        if verdict is None:  # not at the offer, but since: the policy ran out, or the journal fails
            return Looked(self._closed())
        if payer is None:
            return Looked(Refuse(Reason.NOT_RECOGNISED))
        evidence = self._evidence(found, decision, with_digits=digits is not None)
        allowed = within_limits(decision, verdict, always_second_factor=payer.always_second_factor)
        judged = self._more_wanted(allowed, payer, digits)
        return Looked(judged, payer, evidence, ref=new_ref(self._clock))

    # --- lock-out ---------------------------------------------------------------------------------------

    def _after_a_guess(self, decision: Decision, digits: str | None) -> Decision:
        """Digits that fit nobody are a guess; after too many of them, no more are asked for."""
        if digits is not None and isinstance(decision, Refuse):
            self._guesses += 1
            self._failed(lockout.GUESSES)
        asks = isinstance(decision, AskSecondFactor) or digits is not None
        if asks and isinstance(guessed := self._standing(lockout.GUESSES), lockout.Locked):
            return self._locked(guessed)
        return decision

    def _locked(self, lock: lockout.Locked) -> Refuse:
        """Closed until a full minute: whoever comes back then is not too early."""
        if lock.until_s is None:
            return Refuse(Reason.LOCKED)
        minutes = -(-lock.until_s // 60)
        return Refuse(Reason.LOCKED, opens_at=datetime.fromtimestamp(minutes * 60, self.setting.timezone))

    def _more_wanted(self, decision: Decision, payer: Payer, digits: str | None) -> Decision:
        """What a payer who was recognised has to show beside their face: for the amount, or failures.

        What others did at this kiosk asks for a PIN only where one can be taken: three prints of a face must
        not close a shop whose acquirer takes none.
        """
        own = self._standing(lockout.of_payer(payer.token))
        if isinstance(own, lockout.Locked):
            return self._locked(own)
        policy = self.setting.policy
        takes_pin = policy is not None and policy.pin_key is not None
        of_others = (lockout.ATTACKS,) if digits is None else (lockout.ATTACKS, lockout.GUESSES)
        suspected = isinstance(own, lockout.OtherFactor) or (
            takes_pin and any(isinstance(self._standing(key), lockout.OtherFactor) for key in of_others)
        )
        if isinstance(decision, Accept) and suspected:
            decision = AskSecondFactor(Factor.PIN)
        if decision == AskSecondFactor(Factor.PIN) and not takes_pin:
            return Refuse(Reason.PIN_NEEDED)
        return decision

    def tries_left(self, token: str) -> int:
        """How many more failures of this payer, a wrong PIN say, lock them out here; 0: they are."""
        return lockout.tries_left(self._journal.failures(lockout.of_payer(token)), self._clock.utc_s())

    def contradicted(self, token: str) -> None:
        """The payer who was recognised was denied by digits: a failure of theirs."""
        self._failed(lockout.of_payer(token))

    def _judge_guess(self, ref: str, answer: Answer) -> None:
        """A wrong PIN counts against its payer; a payment that is approved clears what was suspected.

        Of the wrong digits it takes back those of its own order, and only with the right ones: who pays a
        little with their own face does not buy more guesses.
        """
        sent = self._on_its_way
        if sent is None or sent.ref != ref:
            return
        if answer.code == WRONG_PIN:
            self._failed(lockout.of_payer(sent.payer.token))
        elif answer.result is Result.APPROVED:
            for key in (lockout.of_payer(sent.payer.token), lockout.ATTACKS):
                self._explained(partial(self._journal.clear_failures, key))
            if Factor.DIGITS.value in sent.evidence.methods and getattr(self.state, "ref", "") == ref:
                self._explained(self._take_back_guesses)

    def _take_back_guesses(self) -> None:
        if self._guesses:
            self._keep_failures(lockout.GUESSES, self._journal.failures(lockout.GUESSES)[: -self._guesses])

    def _keep_failures(self, key: str, failures: list[float]) -> None:
        self._journal.clear_failures(key)
        for at in failures:
            self._journal.note_failure(key, at)

    def _failed(self, key: str) -> None:
        self._explained(partial(self._journal.note_failure, key, self._clock.utc_s()))

    def _standing(self, key: str) -> lockout.Standing:
        """A count that can't be read is one that locks.

        By the clock alone: the later of it and the last payment would stand still once it is set back, and a
        lock with it.
        """
        now = self._clock.utc_s()
        try:
            failures = self._journal.failures(key)
            if (counted := lockout.recounted(failures, now)) != failures:
                self._keep_failures(key, counted)
            return lockout.standing(counted, now)
        except OperatorError as failure:
            self.failure = failure
            return lockout.Locked(None)

    def _explained(self, write: Callable[[], None]) -> None:
        """A count that can't be written stops nobody: the journal refuses the payment itself then."""
        try:
            write()
        except OperatorError as failure:
            self.failure = failure

    def _evidence(self, found: LookDone, decision: Accept, *, with_digits: bool) -> Evidence:
        thresholds = self.setting.thresholds
        return Evidence(
            methods=("face", "digits") if with_digits else ("face",),
            attempts=getattr(self.state, "attempt", 1),
            score_band=_band(decision.score - thresholds.match),
            margin_band=_band(decision.margin - thresholds.margin),
            liveness_band="unavailable" if found.liveness is None else _band(found.liveness - 0.5),
            model_ids=found.model_ids,
            gallery_version=self._people.version,
        )

    def _today(self) -> date:
        """The store's day: limits and batches go by it."""
        return datetime.fromtimestamp(self._now_s(), self.setting.timezone).date()

    def _now_s(self) -> float:
        """The later of the clock and the last payment: a clock that was set back opens no limit again."""
        return self._journal.not_before(self._clock.utc_s())


def _overwrite(found: LookDone) -> None:
    if found.probe is not None:
        found.probe.fill(0)


def _band(above_threshold: float) -> str:
    """Three bands, so that no raw score leaves the kiosk."""
    if above_threshold >= 0.2:
        return "high"
    return "medium" if above_threshold >= 0.05 else "low"
