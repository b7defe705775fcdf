"""What a screen says, as data: `view(...) -> View`. Pure; no Qt, no clock, no file but the text tables.

The screens render the payment machine's states and emit its events; they decide nothing. Every state has
exactly one screen (`assert_never`), every button carries the event that a press emits, and a press on a
button that the current view doesn't have does nothing.

    state (domain) + look, receipt, session (ui)  ->  View  ->  QML
    press                                         ->  Action.emits  ->  the kernel's queue
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, assert_never

from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import Reason, Refuse
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    ANSWER_MS,
    CONFIRM_MS,
    FACTOR_MS,
    LOOK_MS,
    MAX_PINS,
    OFFER_MS,
    PIN_MS,
    REFUSED_MS,
    RESULT_MS,
    UNKNOWN_SHOWN_MS,
    Approved,
    Cancel,
    Challenged,
    Confirm,
    Declined,
    Done,
    Event,
    Identified,
    Idle,
    Looking,
    Means,
    NotSent,
    Offered,
    Order,
    OtherMeans,
    PayAnotherWay,
    PayWithFace,
    PinEntry,
    Refused,
    Reversed,
    Reversing,
    SecondFactor,
    Sent,
    State,
    Unknown,
    challenge_ms,
    may_look_again,
)
from kiosk.domain.ports import Mode
from kiosk.ui.texts import Texts, texts

__all__ = [
    "DIGITS",
    "PAGE_MS",
    "Action",
    "ChooseLanguage",
    "ChooseReceipt",
    "ClosePage",
    "Closed",
    "Countdown",
    "Emitted",
    "Fact",
    "Flash",
    "Hint",
    "Layout",
    "Look",
    "OpenPage",
    "Page",
    "ReceiptKind",
    "ReceiptStatus",
    "Screen",
    "Section",
    "SendPin",
    "Session",
    "Shop",
    "Showing",
    "Tone",
    "View",
    "Weight",
    "countdown",
    "view",
]

DIGITS: Final = 4
"""`DigitsTyped`: the last four digits of the phone number."""
PAGE_MS: Final = 60_000
"""How long a page opened from the idle screen, or a language chosen there, stays without a touch."""

# --- what can be asked of the wiring beside payment events ------------------------------------------------


class ReceiptKind(StrEnum):
    """How the shopper wants the receipt."""

    PRINT = "print"
    QR = "qr"


class Page(StrEnum):
    """Pages that belong to the screen, not to the payment: opening one changes no state."""

    PRIVACY = "privacy"
    WAYS = "ways"


@dataclass(frozen=True, slots=True)
class ChooseReceipt:
    """The shopper wants the receipt this way; what became of it comes back as `ReceiptStatus`."""

    kind: ReceiptKind


@dataclass(frozen=True, slots=True)
class ChooseLanguage:
    """The shopper reads in this language until the screen is free again."""

    code: str


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Show a page over the current state."""

    page: Page


@dataclass(frozen=True, slots=True)
class ClosePage:
    """Back to the current state's screen."""


@dataclass(frozen=True, slots=True)
class SendPin:
    """The green key: what was typed goes on as a PIN. The digits themselves are in no view and no session."""


Emitted = Event | ChooseReceipt | ChooseLanguage | OpenPage | ClosePage | SendPin
"""What a press can emit. `OpenPage` and `ClosePage` stay inside the ui."""

# --- what is known beside the state -----------------------------------------------------------------------


class Hint(StrEnum):
    """The one thing that the payer is asked to mend now: `kiosk.vision.quality.Hint` by value."""

    NONE = "none"
    LOOK_HERE = "look_here"
    ONE_PERSON = "one_person"
    CLOSER = "closer"
    FURTHER = "further"
    MOVE_INTO_VIEW = "move_into_view"
    UNCOVER_FACE = "uncover_face"
    UNCOVER_EYES = "uncover_eyes"
    OPEN_EYES = "open_eyes"
    CLOSE_MOUTH = "close_mouth"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    EVEN_LIGHT = "even_light"
    HOLD_STILL = "hold_still"


@dataclass(frozen=True, slots=True)
class Look:
    """How the look is going: one hint, and how much of the evidence is there, in [0, 1]."""

    hint: Hint = Hint.NONE
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class Flash:
    """How far a flash is: announced for `seconds` more, then colour number `index` is lit, then it is over.

    `index` is None before the first colour and after the last.
    """

    index: int | None = None
    seconds: int = 0
    over: bool = False


class ReceiptStatus(StrEnum):
    """What became of the receipt that was asked for."""

    NOT_ASKED = "not_asked"
    PRINTING = "printing"
    PRINTED = "printed"
    FAILED = "failed"
    QR = "qr"


class Closed(StrEnum):
    """Why no order can be taken now."""

    OUT_OF_ORDER = "out_of_order"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class Shop:
    """What does not change while the kiosk runs.

    `means` are the other ways to pay that this shop offers, at least one. `languages` are BCP 47 tags, the
    first is the shop's own. `provider` and `licence` come from the signed policy.
    """

    name: str
    mode: Mode
    provider: str
    licence: str
    means: tuple[Means, ...] = (Means.TILL,)
    receipts: tuple[ReceiptKind, ...] = (ReceiptKind.PRINT,)
    languages: tuple[str, ...] = ("en", "zh-Hans")

    def __post_init__(self) -> None:
        if not self.means:
            raise ValueError("a shop offers at least one other way to pay")
        for code in self.languages:
            texts(code)  # raises KeyError for one that doesn't exist, at start and not at the shopper


@dataclass(frozen=True, slots=True)
class Session:
    """What the screen itself remembers of one shopper: nothing of it changes a payment.

    `until` is when an untouched page or language at the idle screen is given up (kernel's clock, ms).
    """

    language: str
    page: Page | None = None
    digits: str = ""
    pin: int = 0
    """How many digits of a PIN are typed; the digits are not here."""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Showing:
    """Everything that decides what is on the screen. `qr` is the content of the code to show, if any."""

    state: State = field(default_factory=Idle)
    look: Look = field(default_factory=Look)
    flash: Flash = field(default_factory=Flash)
    receipt: ReceiptStatus = ReceiptStatus.NOT_ASKED
    qr: str = ""
    closed: Closed | None = None


# --- what is on the screen --------------------------------------------------------------------------------


class Screen(StrEnum):
    """Every screen there is. `docs/screens.md` shows them."""

    IDLE = "idle"
    PRIVACY = "privacy"
    OUT_OF_ORDER = "out_of_order"
    OFFER = "offer"
    WAYS = "ways"
    LOOK = "look"
    CHALLENGE = "challenge"
    FLASH = "flash"
    DIGITS = "digits"
    PIN = "pin"
    CONFIRM = "confirm"
    WORKING = "working"
    APPROVED = "approved"
    DECLINED = "declined"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    CHECKING = "checking"
    REVERSED = "reversed"
    OTHER_WAY = "other_way"


class Layout(StrEnum):
    """The QML file that draws it: `qml/<value>.qml`."""

    IDLE = "IdleScreen"
    PRIVACY = "PrivacyScreen"
    OFFER = "OfferScreen"
    LOOK = "LookScreen"
    CHALLENGE = "ChallengeScreen"
    FLASH = "FlashScreen"
    DIGITS = "DigitsScreen"
    CONFIRM = "ConfirmScreen"
    MESSAGE = "MessageScreen"


class Tone(StrEnum):
    """What kind of news it is. Never shown by colour alone: `View.icon` and the title say it too."""

    NEUTRAL = "neutral"
    GOOD = "good"
    CAREFUL = "careful"
    BAD = "bad"


class Weight(StrEnum):
    """How much a button stands out."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Action:
    """A button: `emits` is what a press sends."""

    id: str
    label: str
    icon: str
    weight: Weight
    emits: Emitted


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled line: *To*, *From*, *Reference*."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Section:
    """A short paragraph with an icon and a heading."""

    icon: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class LanguageChoice:
    """A language in its own name."""

    code: str
    name: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class View:
    """One screen, ready to draw; all texts are translated, amounts are formatted."""

    screen: Screen
    layout: Layout
    language: str
    mirrored: bool
    banner: str
    """Which mode this is; empty in production."""
    shop: str
    title: str
    body: str = ""
    note: str = ""
    amount: str = ""
    icon: str = ""
    tone: Tone = Tone.NEUTRAL
    busy: bool = False
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()
    actions: tuple[Action, ...] = ()
    languages: tuple[LanguageChoice, ...] = ()
    digits: int = 0
    """How many digits are typed."""
    slots: int = DIGITS
    """How many boxes are drawn for them."""
    erase: str = ""
    """The label of the keypad's erase key; empty where there is no keypad."""
    qr: str = ""
    pose: str = ""
    """What the drawn head does: `left`, `right` (the payer's own) or `blink`; empty where none is drawn."""
    colour: str = ""
    """The whole screen's colour while a flash is lit, `#rrggbb`; empty at all other times."""
    count: str = ""
    """The seconds until the first colour of a flash."""
    night: bool = False
    """Drawn dark whatever the theme: nothing but a flash's colours shall light the face."""


@dataclass(frozen=True, slots=True)
class Countdown:
    """How long the screen stays: `left_ms` of `total_ms`, and the same in words."""

    left_ms: int
    total_ms: int
    text: str


def view(showing: Showing, session: Session, shop: Shop) -> View:
    """The screen for all of this. Pure; the same arguments give the same view."""
    return _Teller(showing, session, shop, texts(session.language)).tell()


def countdown(showing: Showing, session: Session, now: int) -> Countdown | None:
    """The visible time-out at `now` (kernel's clock, ms); None where there is none.

    An untouched language at the idle screen is given up in silence; a page there is not.
    """
    state, say = showing.state, texts(session.language)
    match state:
        case Idle():
            shown = session.until if session.page else None
            timer = (shown, PAGE_MS, "closes")
        case Offered(until=until):
            timer = (until, OFFER_MS, "start_over")
        case Looking(until=until):
            timer = (until, LOOK_MS, "cancels")
        case Challenged(until=until, challenge=challenge):
            timer = (until, challenge_ms(challenge), "cancels")
        case SecondFactor(until=until):
            timer = (until, FACTOR_MS, "cancels")
        case Identified(until=until):
            timer = (until, CONFIRM_MS, "cancels")
        case PinEntry(until=until):
            timer = (until, PIN_MS, "cancels")
        case Sent(until=until):
            timer = (until, ANSWER_MS, "answer")
        case Unknown(shown_until=until) | Reversing(shown_until=until):
            timer = (until, UNKNOWN_SHOWN_MS, "start_over")
        case Refused(until=until):
            timer = (until, REFUSED_MS, "start_over")
        case Approved(until=until) | Declined(until=until) | NotSent(until=until):
            timer = (until, RESULT_MS, "start_over")
        case Reversed(until=until) | OtherMeans(until=until):
            timer = (until, RESULT_MS, "start_over")
        case _:
            assert_never(state)
    end, total, key = timer
    if end is None:
        return None
    left = min(max(end - now, 0), total)
    return Countdown(left, total, say(f"countdown.{key}", seconds=-(-left // 1000)))


@dataclass(frozen=True, slots=True)
class _Teller:
    """One call of `view`: what it was given, and how each state is told."""

    showing: Showing
    session: Session
    shop: Shop
    say: Texts

    def tell(self) -> View:
        state = self.showing.state
        match self.session.page:
            case Page.PRIVACY if isinstance(state, Idle):
                return self._privacy()
            case Page.WAYS if not isinstance(state, Idle):
                return self._ways()
        match state:
            case Idle():
                return self._closed(self.showing.closed) if self.showing.closed else self._idle()
            case Offered():
                return self._offer(state)
            case Looking():
                return self._look()
            case Challenged(challenge=challenge) if challenge.kind is ChallengeKind.FLASH:
                return self._flash(challenge)
            case Challenged(challenge=challenge):
                return self._challenge(challenge.kind)
            case SecondFactor():
                return self._digits(state)
            case Identified():
                return self._confirm(state)
            case PinEntry():
                return self._pin(state)
            case Sent():
                return self._working(state)
            case Approved():
                return self._approved(state)
            case Declined():
                return self._declined(state)
            case Refused():
                return self._refused(state)
            case NotSent():
                return self._not_sent(state)
            case Unknown() | Reversing():
                return self._checking(state)
            case Reversed():
                return self._reversed(state)
            case OtherMeans():
                return self._other_way(state)
            case _:
                assert_never(state)

    # --- parts ---

    def _blank(self, screen: Screen, layout: Layout, title: str) -> View:
        """What all screens have in common."""
        mode = self.shop.mode
        return View(
            screen=screen,
            layout=layout,
            language=self.say.code,
            mirrored=self.say.mirrored,
            banner="" if mode == "production" else self.say(f"mode.{mode}"),
            shop=self.shop.name,
            title=title,
        )

    def _action(self, key: str, icon: str, weight: Weight, emits: Emitted, **values: str) -> Action:
        return Action(key, self.say(f"action.{key}", **values), icon, weight, emits)

    def _another_way(self, weight: Weight) -> Action:
        """Straight to the only other way there is, or to the page that lists them."""
        means = self.shop.means
        emits: Emitted = PayAnotherWay(means[0]) if len(means) == 1 else OpenPage(Page.WAYS)
        return self._action("pay_another_way", "wallet", weight, emits)

    def _cancel(self) -> Action:
        return self._action("cancel", "cross", Weight.PLAIN, Cancel())

    def _done(self, weight: Weight) -> Action:
        return self._action("done", "check", weight, Done())

    def _languages(self) -> tuple[LanguageChoice, ...]:
        chosen = self.say.code
        return tuple(LanguageChoice(code, texts(code).name, code == chosen) for code in self.shop.languages)

    def _provider(self) -> str:
        if not self.shop.provider:
            return ""
        return self.say("fact.provider", provider=self.shop.provider, licence=self.shop.licence)

    def _purchase(self, order: Order) -> tuple[Fact, ...]:
        return (
            Fact(self.say("fact.amount"), _amount(order.amount)),
            Fact(self.say("fact.payee"), order.payee),
        )

    def _reference(self, ref: str) -> Fact:
        return Fact(self.say("fact.reference"), _short(ref))

    # --- before an order ---

    def _idle(self) -> View:
        return replace(
            self._blank(Screen.IDLE, Layout.IDLE, self.say("idle.title")),
            body=self.say("idle.body"),
            note=self.say("idle.note"),
            icon="face",
            facts=(Fact(self.say("idle.camera_off"), ""),),
            actions=(
                self._action("privacy", "shield", Weight.SECONDARY, OpenPage(Page.PRIVACY)),
            ),
            languages=self._languages(),
        )  # fmt: skip

    def _privacy(self) -> View:
        def section(name: str, icon: str) -> Section:
            title, body = self.say(f"privacy.{name}_title"), self.say(f"privacy.{name}_body")
            return Section(icon, title, body)

        return replace(
            self._blank(Screen.PRIVACY, Layout.PRIVACY, self.say("privacy.title")),
            note=self._provider(),
            icon="shield",
            sections=(
                section("camera", "camera"),
                section("numbers", "numbers"),
                section("consent", "person"),
                section("leave", "exit"),
            ),
            actions=(self._action("back", "back", Weight.SECONDARY, ClosePage()),),
        )

    def _closed(self, closed: Closed) -> View:
        return replace(
            self._blank(Screen.OUT_OF_ORDER, Layout.MESSAGE, self.say(f"closed.{closed}_title")),
            body=self.say(f"closed.{closed}_body"),
            icon="wrench",
            tone=Tone.CAREFUL,
        )

    # --- choosing ---

    def _offer(self, state: Offered) -> View:
        order = state.order
        another = self._another_way(Weight.PRIMARY)
        face = self._action("pay_with_face", "face", Weight.PRIMARY, PayWithFace())
        why = self._why(state.refusal) if state.refusal else None
        return replace(
            self._blank(Screen.OFFER, Layout.OFFER, self.say("offer.title")),
            body=why[1] if why else "",
            note=why[0] if why else self.say("offer.note"),
            amount=_amount(order.amount),
            tone=Tone.CAREFUL if why else Tone.NEUTRAL,
            facts=(Fact(self.say("fact.payee"), order.payee),),
            actions=(*(() if why else (face,)), another, self._cancel()),
            languages=self._languages(),
        )

    def _ways(self) -> View:
        icons = {Means.TILL: "till", Means.ACQUIRER_QR: "qr", Means.STAFF: "person"}
        ways = tuple(
            Action(f"way_{way}", self.say(f"ways.{way}"), icons[way], Weight.PRIMARY, PayAnotherWay(way))
            for way in self.shop.means
        )
        back = self._action("back", "back", Weight.PLAIN, ClosePage())
        order = getattr(self.showing.state, "order", None)
        return replace(
            self._blank(Screen.WAYS, Layout.OFFER, self.say("ways.title")),
            amount=_amount(order.amount) if order else "",
            facts=(Fact(self.say("fact.payee"), order.payee),) if order else (),
            actions=(*ways, back),
        )

    # --- who is it ---

    def _look(self) -> View:
        return replace(
            self._blank(Screen.LOOK, Layout.LOOK, self.say(f"hint.{self.showing.look.hint}")),
            note=self.say("look.note"),
            icon=_HINT_ICONS[self.showing.look.hint],
            actions=(self._another_way(Weight.SECONDARY), self._cancel()),
        )

    def _challenge(self, kind: ChallengeKind) -> View:
        """What to do, in words and as a drawn head that does it; what to mend first, or why it is asked."""
        hint = self.showing.look.hint
        return replace(
            self._blank(Screen.CHALLENGE, Layout.CHALLENGE, self.say(f"challenge.{kind}")),
            body=self.say("challenge.why" if hint is Hint.NONE else f"hint.{hint}"),
            icon="shield" if hint is Hint.NONE else _HINT_ICONS[hint],
            pose=_POSES[kind],
            actions=(self._another_way(Weight.SECONDARY), self._cancel()),
        )

    def _flash(self, challenge: Challenge) -> View:
        """Announced, with a way out for whom flashing light bothers; then the colours; then a moment more."""
        flash, hint, lit = self.showing.flash, self.showing.look.hint, self.showing.flash.index
        announced = lit is None and not flash.over
        phase = "flash_soon" if announced else "flash_over" if flash.over else "flash"
        care = announced and hint is Hint.NONE
        cancel = replace(self._cancel(), weight=Weight.SECONDARY)  # a ground of its own on any colour
        return replace(
            self._blank(Screen.FLASH, Layout.FLASH, self.say(f"challenge.{phase}")),
            body=self.say("challenge.flash_care") if care else self._mend(hint),
            icon="warning" if care else _HINT_ICONS[hint],
            tone=Tone.CAREFUL if care else Tone.NEUTRAL,
            colour="#{:02x}{:02x}{:02x}".format(*challenge.colours[lit]) if lit is not None else "",
            count=str(flash.seconds) if announced and flash.seconds else "",
            night=True,
            actions=(self._another_way(Weight.SECONDARY), cancel),
        )

    def _mend(self, hint: Hint) -> str:
        return "" if hint is Hint.NONE else self.say(f"hint.{hint}")

    def _digits(self, state: SecondFactor) -> View:
        typed = len(self.session.digits)
        body = "checking" if typed == DIGITS else "wrong" if state.tries and not typed else "body"
        return replace(
            self._blank(Screen.DIGITS, Layout.DIGITS, self.say("digits.title")),
            body=self.say(f"digits.{body}"),
            icon="warning" if body == "wrong" else "phone",
            tone=Tone.BAD if body == "wrong" else Tone.NEUTRAL,
            busy=typed == DIGITS,
            digits=typed,
            erase=self.say("action.erase"),
            actions=(self._another_way(Weight.SECONDARY), self._cancel()),
        )

    def _pin(self, state: PinEntry) -> View:
        """Amount, payee and payer stand here too: the green key is what confirms."""
        typed, amount = self.session.pin, _amount(state.order.amount)
        wrong = state.tries > 0 and not typed
        who = self.say("pin.body", payee=state.order.payee, payer=state.payer.masked_name)
        return replace(
            self._blank(Screen.PIN, Layout.DIGITS, self.say("pin.title", amount=amount)),
            body=self.say("pin.wrong", left=MAX_PINS - state.tries) if wrong else who,
            note=self._provider(),
            icon="warning" if wrong else "shield",
            tone=Tone.BAD if wrong else Tone.NEUTRAL,
            digits=typed,
            slots=max(DIGITS, typed),
            erase=self.say("action.erase"),
            actions=(
                self._action("confirm", "check", Weight.PRIMARY, SendPin(), amount=amount),
                self._another_way(Weight.SECONDARY),
                self._cancel(),
            ),
        )

    def _confirm(self, state: Identified) -> View:
        amount = _amount(state.order.amount)
        return replace(
            self._blank(Screen.CONFIRM, Layout.CONFIRM, self.say("confirm.title")),
            body=self.say("confirm.note"),
            note=self._provider(),
            amount=amount,
            icon="person",
            facts=(
                Fact(self.say("fact.payee"), state.order.payee),
                Fact(self.say("fact.payer"), state.payer.masked_name),
                Fact(self.say("fact.account"), state.payer.masked_account),
            ),
            actions=(
                self._action("confirm", "check", Weight.PRIMARY, Confirm(), amount=amount),
                self._another_way(Weight.SECONDARY),
                self._action("not_me", "cross", Weight.PLAIN, Cancel()),
            ),
        )

    def _refused(self, state: Refused) -> View:
        title, body = self._why(state.refusal)
        again = self._action("try_again", "again", Weight.PRIMARY, PayWithFace())
        more = may_look_again(state)
        other = self._another_way(Weight.SECONDARY if more else Weight.PRIMARY)
        return replace(
            self._blank(Screen.REFUSED, Layout.MESSAGE, title),
            body=body,
            note=self.say("refused.nothing_charged"),
            icon=_REFUSED_ICONS.get(state.reason, "question"),
            tone=Tone.CAREFUL,
            actions=(again, other, self._cancel()) if more else (other, self._cancel()),
        )

    def _why(self, refusal: Refuse) -> tuple[str, str]:
        """Title and body of a refusal; a limit names its amount, the law speaks for itself."""
        title = self.say(f"refused.{refusal.reason}_title")
        if refusal.reason is Reason.OVER_LIMIT and refusal.limit:
            limit = refusal.limit
            cap = limit.limit if isinstance(limit.limit, int) else _amount(limit.limit)
            return title, self.say(f"refused.over_limit_{limit.kind}", limit=cap)
        if refusal.opens_at is not None:
            return title, self.say("refused.locked_until", until=f"{refusal.opens_at:%H:%M}")
        return title, refusal.note or self.say(f"refused.{refusal.reason}_body")

    # --- what became of it ---

    def _working(self, state: Sent) -> View:
        return replace(
            self._blank(
                Screen.WORKING, Layout.MESSAGE, self.say("working.title", amount=_amount(state.order.amount))
            ),
            body=self.say("working.body"),
            icon="dots",
            busy=True,
        )

    def _approved(self, state: Approved) -> View:
        body, choices = self._receipt()
        approval = (Fact(self.say("fact.approval"), state.answer.approval),) if state.answer.approval else ()
        return replace(
            self._blank(Screen.APPROVED, Layout.MESSAGE, self.say("approved.title")),
            body=body,
            icon="check",
            tone=Tone.GOOD,
            amount=_amount(state.order.amount),
            facts=(Fact(self.say("fact.payee"), state.order.payee), *approval),
            qr=self.showing.qr if self.showing.receipt is ReceiptStatus.QR else "",
            actions=choices,
        )

    def _receipt(self) -> tuple[str, tuple[Action, ...]]:
        done = (self._done(Weight.SECONDARY),)
        match self.showing.receipt:
            case ReceiptStatus.NOT_ASKED:
                kinds = {
                    ReceiptKind.PRINT: ("receipt_print", "printer"),
                    ReceiptKind.QR: ("receipt_qr", "qr"),
                }
                asked = tuple(
                    self._action(*kinds[kind], Weight.SECONDARY, ChooseReceipt(kind))
                    for kind in self.shop.receipts
                )
                none = self._action("receipt_none", "cross", Weight.PLAIN, Done())
                return self.say("approved.body"), (*asked, none) if asked else done
            case ReceiptStatus.PRINTING:
                return self.say("approved.printing"), done
            case ReceiptStatus.PRINTED:
                return self.say("approved.printed"), done
            case ReceiptStatus.FAILED:
                return self.say("approved.print_failed"), done
            case ReceiptStatus.QR:
                return self.say("approved.scan"), done

    def _declined(self, state: Declined) -> View:
        key = f"declined_because.{state.answer.code}"
        return replace(
            self._blank(Screen.DECLINED, Layout.MESSAGE, self.say("declined.title")),
            body=self.say(key if key in self.say.table else "declined_because.other"),
            note=self.say("declined.nothing_charged"),
            icon="cross",
            tone=Tone.BAD,
            facts=(*self._purchase(state.order), self._reference(state.ref)),
            actions=(self._another_way(Weight.PRIMARY), self._done(Weight.PLAIN)),
        )

    def _not_sent(self, state: NotSent) -> View:
        return replace(
            self._blank(Screen.NOT_SENT, Layout.MESSAGE, self.say("not_sent.title")),
            body=self.say("not_sent.body"),
            icon="offline",
            tone=Tone.CAREFUL,
            facts=self._purchase(state.order),
            actions=(self._another_way(Weight.PRIMARY), self._done(Weight.PLAIN)),
        )

    def _checking(self, state: Unknown | Reversing) -> View:
        return replace(
            self._blank(Screen.CHECKING, Layout.MESSAGE, self.say("checking.title")),
            body=self.say("checking.body"),
            note=self.say("checking.note"),
            icon="hourglass",
            tone=Tone.CAREFUL,
            busy=True,
            facts=(*self._purchase(state.order), self._reference(state.ref)),
            actions=(self._done(Weight.SECONDARY),),
        )

    def _reversed(self, state: Reversed) -> View:
        return replace(
            self._blank(Screen.REVERSED, Layout.MESSAGE, self.say("reversed.title")),
            body=self.say("reversed.body"),
            icon="undo",
            tone=Tone.NEUTRAL,
            facts=(*self._purchase(state.order), self._reference(state.ref)),
            actions=(self._another_way(Weight.PRIMARY), self._done(Weight.PLAIN)),
        )

    def _other_way(self, state: OtherMeans) -> View:
        icons = {Means.TILL: "till", Means.ACQUIRER_QR: "qr", Means.STAFF: "person"}
        return replace(
            self._blank(Screen.OTHER_WAY, Layout.MESSAGE, self.say(f"other_way.{state.means}_title")),
            body=self.say(f"other_way.{state.means}_body"),
            icon=icons[state.means],
            facts=self._purchase(state.order),
            qr=self.showing.qr if state.means is Means.ACQUIRER_QR else "",
            actions=(self._done(Weight.SECONDARY),),
        )


_HINT_ICONS: Final = {
    Hint.NONE: "eye",
    Hint.LOOK_HERE: "eye",
    Hint.ONE_PERSON: "person",
    Hint.CLOSER: "closer",
    Hint.FURTHER: "further",
    Hint.MOVE_INTO_VIEW: "face",
    Hint.UNCOVER_FACE: "face",
    Hint.UNCOVER_EYES: "eye",
    Hint.OPEN_EYES: "eye",
    Hint.CLOSE_MOUTH: "face",
    Hint.MORE_LIGHT: "light",
    Hint.LESS_LIGHT: "light",
    Hint.EVEN_LIGHT: "light",
    Hint.HOLD_STILL: "pause",
}
_POSES: Final = {
    ChallengeKind.TURN_LEFT: "left",
    ChallengeKind.TURN_RIGHT: "right",
    ChallengeKind.BLINK: "blink",
}
_REFUSED_ICONS: Final = {
    Reason.TWO_FACES: "person",
    Reason.OVER_LIMIT: "limit",
    Reason.PIN_NEEDED: "limit",
    Reason.FACE_NOT_ALLOWED: "limit",
    Reason.LOCKED: "shield",
    Reason.GALLERY_STALE: "hourglass",
    Reason.TIMED_OUT: "hourglass",
}


def _amount(amount: Money) -> str:
    """The amount for people; symbol and digits stay on one line."""
    return str(amount).replace(" ", "\u00a0")


def _short(ref: str) -> str:
    """The end of a reference, for reading aloud: `"4F2A-91C0"` (a UUIDv7 starts with a time)."""
    tail = ref.replace("-", "")[-8:].upper()
    return f"{tail[:4]}-{tail[4:]}" if len(tail) == 8 else tail
