"""Between the kernel and the screen: shows what it is given, from any thread; passes presses on, at once.

The bridge lives on the Qt thread. `show`, `show_look`, `show_closed`, `show_frame` and `quit` may be called
from any thread and never wait; the newest wins. A press becomes the event of the button that the current
view has, and goes to `on_event`, which must only put it into a queue.

    kernel thread -- show(state) -->  Bridge  -- view, countdown, progress -->  QML
    kernel's queue <-- on_event(event) --  Bridge  <-- press(id), digit(n) --  QML
    camera's worker <-- on_shown(challenge, n, at) --  Bridge  <-- frame_swapped --  window
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from PySide6.QtCore import Property, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QImage

from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.payment import Challenged, DigitsTyped, Event, Idle, PinEntry, SecondFactor, State, Watched
from kiosk.domain.pin import Keypad, PinTyped
from kiosk.frames import Frame
from kiosk.ui.flash import FlashShow
from kiosk.ui.preview import mirrored_image
from kiosk.ui.view import (
    DIGITS,
    PAGE_MS,
    ChooseLanguage,
    ChooseReceipt,
    Closed,
    ClosePage,
    Countdown,
    Emitted,
    Flash,
    Look,
    OpenPage,
    ReceiptStatus,
    Screen,
    SendPin,
    Session,
    Shop,
    Showing,
    View,
    countdown,
    view,
)

__all__ = ["Bridge", "Outgoing", "monotonic_ms"]

Outgoing = Event | PinTyped | ChooseReceipt | ChooseLanguage
"""What leaves the screen: payment events, and two wishes that change no payment."""

TICK_MS: Final = 200
"""How often the words of a countdown are looked at; its bar moves on the render thread."""
FLASH_TICK_MS: Final = 10
"""The same while a flash runs: its colours must not wait for the words."""
GUARD_MS: Final = 350
"""A press this soon after another screen came up was meant for the one before: it is dropped."""


def monotonic_ms() -> int:
    """Milliseconds of the clock that never goes back; the kernel's `until` is on the same one."""
    return time.monotonic_ns() // 1_000_000


class Bridge(QObject):
    """What QML sees of the kiosk. Make it after the application object, on the same thread.

    Args:
        shop: name, mode, provider, other means, receipts, languages.
        on_event: gets every press, on the Qt thread; must not wait.
        clock: milliseconds, the clock of the states' `until`.
        reduced_motion, dark: how the screens are drawn.
        guard_ms: see `GUARD_MS`; 0 for tests that press at once.
    """

    viewChanged = Signal()  # noqa: N815 (QML's spelling)
    ticked = Signal()
    progressed = Signal()
    framed = Signal()
    quitting = Signal()
    _posted = Signal(object)
    _pressed = Signal(str)
    _shop_posted = Signal(object)
    _frame_posted = Signal()

    def __init__(
        self,
        shop: Shop,
        on_event: Callable[[Outgoing], None],
        *,
        clock: Callable[[], int] = monotonic_ms,
        dark: bool = False,
        reduced_motion: bool = False,
        guard_ms: int = GUARD_MS,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._shop, self._on_event, self._clock = shop, on_event, clock
        self._dark, self._reduced_motion, self._guard_ms = dark, reduced_motion, guard_ms
        self._showing = Showing()
        self._session = Session(shop.languages[0])
        self._pin = Keypad()
        self._view = view(self._showing, self._session, shop)
        self._countdown: Countdown | None = None
        self._deadline = 0
        self._screen_since = clock() - guard_ms
        self._frame_lock = threading.Lock()
        self._newest: QImage | None = None
        self._image: QImage | None = None
        self._looking = False
        self._flash: FlashShow | None = None
        self._asked: tuple[Challenge, int] | None = None
        self._drawn: tuple[Challenge, int] | None = None
        self._reported: tuple[Challenge, int] | None = None
        self.on_shown: Callable[[Challenge, int, int], None] = lambda challenge, index, at_ns: None
        """Told on the Qt thread that a challenge came onto the screen (index 0), or colour `index` of a
        flash, and when (`time.monotonic_ns`, to about one picture of the screen); must not wait."""
        self._posted.connect(self._take)
        self._pressed.connect(self.press)
        self._shop_posted.connect(self._take_shop)
        self._frame_posted.connect(self._take_frame)
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._flash_timer = QTimer(self)
        self._flash_timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._flash_timer.setInterval(FLASH_TICK_MS)
        self._flash_timer.timeout.connect(self._tick_flash)

    # --- from any thread ---

    def show(self, state: State, *, receipt: ReceiptStatus = ReceiptStatus.NOT_ASKED, qr: str = "") -> None:
        """Show `state`. `qr`: content of the code, for `OtherMeans(ACQUIRER_QR)` or a receipt by QR."""
        self._posted.emit(lambda now: replace(now, state=state, receipt=receipt, qr=qr))

    def show_shop(self, shop: Shop) -> None:
        """What is shown of the shop and the provider from now on: a policy came."""
        self._shop_posted.emit(shop)

    def show_look(self, look: Look) -> None:
        """Show how the look is going; without effect in another state. A new look starts from nothing."""
        self._posted.emit(lambda now: replace(now, look=look))

    def show_closed(self, closed: Closed | None) -> None:
        """Show at the idle screen that no order can be taken, or (None) that it can again."""
        self._posted.emit(lambda now: replace(now, closed=closed))

    def show_frame(self, frame: Frame) -> None:
        """Show a camera frame in the preview. Only while the camera is on; a frame not yet drawn is replaced.

        The picture is copied, small, before this returns: the frame may be reused.
        """
        if not self._looking:
            return
        picture = mirrored_image(frame)
        with self._frame_lock:
            waiting, self._newest = self._newest is not None, picture
        if not waiting:
            self._frame_posted.emit()

    def press_soon(self, action_id: str) -> None:
        """Press a button for somebody who is not at the screen (the demo): after what is shown already."""
        self._pressed.emit(action_id)

    def quit(self) -> None:
        """End the window's event loop."""
        self.quitting.emit()

    # --- for QML ---

    @Property("QVariantMap", notify=viewChanged)  # type: ignore[arg-type]  # Qt's name for a map of values
    def view(self) -> dict[str, Any]:
        """The screen as a map: `kiosk.ui.view.View`, without what the buttons emit."""
        shown: dict[str, Any] = _plain(self._view)
        return shown

    @Property(str, notify=ticked)
    def countdownText(self) -> str:  # noqa: N802 (QML's spelling)
        """The time-out in words; empty where there is none."""
        return self._countdown.text if self._countdown else ""

    @Property(float, notify=ticked)
    def deadline(self) -> float:
        """When the time-out is, on the bridge's clock: another value means that the bar starts again."""
        return float(self._deadline)

    @Property(int, notify=ticked)
    def leftMs(self) -> int:  # noqa: N802
        """Milliseconds until the time-out."""
        return self._countdown.left_ms if self._countdown else 0

    @Property(int, notify=ticked)
    def totalMs(self) -> int:  # noqa: N802
        """Milliseconds that this screen stays in all; 0 where there is no time-out."""
        return self._countdown.total_ms if self._countdown else 0

    @Property(float, notify=progressed)
    def progress(self) -> float:
        """How much of a look is done, in [0, 1]."""
        return min(max(self._showing.look.progress, 0.0), 1.0)

    @Property(bool, notify=framed)
    def hasPicture(self) -> bool:  # noqa: N802
        """Whether there is a camera picture to draw."""
        return self._image is not None

    @Property(bool, constant=True)
    def dark(self) -> bool:
        """The dark theme."""
        return self._dark

    @Property(bool, constant=True)
    def reducedMotion(self) -> bool:  # noqa: N802
        """Nothing moves that need not."""
        return self._reduced_motion

    @Slot(str)
    def press(self, action_id: str) -> None:
        """A button was pressed. Nothing happens when the current view has no such button."""
        if self._too_soon():
            return
        for action in self._view.actions:
            if action.id == action_id:
                self._emit(action.emits)
                return

    @Slot(str)
    def choose(self, code: str) -> None:
        """A language was pressed."""
        if any(choice.code == code for choice in self._view.languages):
            self._emit(ChooseLanguage(code))

    @Slot(str)
    def digit(self, digit: str) -> None:
        """A key of the keypad; the last of four digits sends them all, a PIN waits for the green key."""
        if not self._view.erase or self._too_soon():
            return
        if isinstance(self._showing.state, PinEntry):
            self._pin.key(digit)
            self._set_session(replace(self._session, pin=len(self._pin)))
            return
        if len(self._session.digits) >= DIGITS:
            return
        typed = self._session.digits + digit
        self._set_session(replace(self._session, digits=typed))
        if len(typed) == DIGITS:
            self._on_event(DigitsTyped(typed))

    @Slot()
    def erase(self) -> None:
        """Take the last digit back."""
        self._pin.erase()
        if self._session.pin:
            self._set_session(replace(self._session, pin=len(self._pin)))
        if len(self._session.digits) < DIGITS:
            self._set_session(replace(self._session, digits=self._session.digits[:-1]))

    # --- for the window and the tests ---

    @Slot()
    def frame_begun(self) -> None:
        """What the view asks for now is about to be drawn."""
        self._drawn = self._asked

    @Slot()
    def frame_swapped(self) -> None:
        """A picture that was drawn is on the screen."""
        shown = self._drawn
        if shown is None or shown is self._reported:
            return
        self._reported = shown
        self.on_shown(*shown, time.monotonic_ns())
        if self._flash is not None and self._flash.challenge is shown[0]:
            self._flash.seen(shown[1], self._clock())

    @property
    def current(self) -> View:
        """The view that is shown, with what its buttons emit."""
        return self._view

    @property
    def image(self) -> QImage | None:
        """The newest preview picture, mirrored; None when there is nothing to show."""
        return self._image

    def set_scene(self, showing: Showing, session: Session) -> None:
        """Show exactly this, for pictures and tests; on the Qt thread."""
        self._showing, self._session = showing, session
        self._looking = isinstance(showing.state, Watched)
        self.progressed.emit()
        self._refresh()

    # --- inside ---

    def _too_soon(self) -> bool:
        return self._clock() - self._screen_since < self._guard_ms

    def _emit(self, emitted: Emitted) -> None:
        session = self._session
        idle_until = self._clock() + PAGE_MS if isinstance(self._showing.state, Idle) else None
        match emitted:
            case OpenPage(page):
                self._set_session(replace(session, page=page, until=idle_until))
            case ClosePage():
                self._set_session(replace(session, page=None, until=idle_until))
            case SendPin():
                self._send_pin()
            case ChooseLanguage(code):
                self._set_session(replace(session, language=code, until=idle_until))
                self._on_event(emitted)
            case _:
                self._on_event(emitted)

    def _send_pin(self) -> None:
        if (pin := self._pin.take()) is not None:
            self._set_session(replace(self._session, pin=0))
            self._on_event(PinTyped(pin))

    @Slot(object)
    def _take(self, change: Callable[[Showing], Showing]) -> None:
        before, after = self._showing, change(self._showing)
        if _another_look(before.state, after.state):
            after = replace(after, look=Look())
        if after.state is not before.state:
            self._pin.wipe()
            self._session = replace(self._session, pin=0)
        if type(after.state) is not type(before.state):
            self._session = self._at_new_state(after.state)
        elif _checked(before.state, after.state):
            self._session = replace(self._session, digits="")
        self._begin_flash(after.state)
        self._showing = replace(after, flash=self._flash.flash if self._flash else Flash())
        self._looking = isinstance(after.state, Watched)
        if not self._looking:
            self._forget_frames()
        if after.look.progress != before.look.progress:
            self.progressed.emit()
        self._refresh()

    def _at_new_state(self, state: State) -> Session:
        """A page and digits belong to one state; a language to one shopper."""
        language = self._shop.languages[0] if isinstance(state, Idle) else self._session.language
        return Session(language)

    def _set_session(self, session: Session) -> None:
        self._session = session
        self._refresh()

    def _begin_flash(self, state: State) -> None:
        """A flash is shown once: with the state that asks for it."""
        challenge = state.challenge if isinstance(state, Challenged) else None
        if challenge is None or challenge.kind is not ChallengeKind.FLASH:
            self._flash = None
        elif self._flash is None or self._flash.challenge is not challenge:
            self._flash = FlashShow(challenge, self._clock())
            self._flash_timer.start()

    @Slot()
    def _tick_flash(self) -> None:
        if self._flash is not None:
            self._flash.tick(self._clock())
        if self._flash is None or self._flash.flash.over:
            self._flash_timer.stop()
        if self._flash is not None and self._flash.flash != self._showing.flash:
            self._showing = replace(self._showing, flash=self._flash.flash)
            self._refresh()

    def _asked_now(self) -> tuple[Challenge, int] | None:
        """What the view asks for, with the number of the colour: the same object for as long as it does."""
        state, lit, asked = self._showing.state, self._showing.flash.index, self._asked
        if not isinstance(state, Challenged) or self._view.screen not in (Screen.CHALLENGE, Screen.FLASH):
            return None
        if self._view.screen is Screen.FLASH and lit is None:
            return None
        wanted = state.challenge, lit or 0
        return asked if asked and asked[0] is wanted[0] and asked[1] == wanted[1] else wanted

    def _refresh(self) -> None:
        new = view(self._showing, self._session, self._shop)
        if new.screen is not self._view.screen:
            self._screen_since = self._clock()
        if self._flash is not None and new.screen is not Screen.FLASH:
            self._flash.end()
        changed, self._view = new != self._view, new
        self._asked = self._asked_now()
        if changed:
            self.viewChanged.emit()
        self._tick()

    @Slot()
    def _tick(self) -> None:
        now = self._clock()
        until = self._session.until
        if until is not None and now >= until:
            self._set_session(Session(self._shop.languages[0]))
            return
        self._countdown = countdown(self._showing, self._session, now)
        self._deadline = now + self._countdown.left_ms if self._countdown else 0
        wanted = self._countdown is not None or until is not None
        if wanted != self._timer.isActive():
            self._timer.start() if wanted else self._timer.stop()
        self.ticked.emit()

    @Slot(object)
    def _take_shop(self, shop: Shop) -> None:
        self._shop = shop
        self._refresh()

    @Slot()
    def _take_frame(self) -> None:
        with self._frame_lock:
            picture, self._newest = self._newest, None
        if picture is not None and self._looking:
            self._image = picture
            self.framed.emit()

    def _forget_frames(self) -> None:
        with self._frame_lock:
            self._newest = None
        if self._image is not None:
            self._image = None
            self.framed.emit()


def _another_look(before: State, after: State) -> bool:
    """Whether what was said about the last look is over."""
    if isinstance(before, Challenged) and isinstance(after, Challenged):
        return before.challenge is not after.challenge
    if type(before) is type(after) and isinstance(before, Watched) and isinstance(after, Watched):
        return before.attempt != after.attempt
    return isinstance(before, Watched) or isinstance(after, Watched)


def _checked(before: State, after: State) -> bool:
    """Whether typed digits were judged: sending them adds to the count, the next word is the verdict."""
    if not (isinstance(before, SecondFactor) and isinstance(after, SecondFactor)):
        return False
    return after.tries == before.tries and after != before


def _plain(value: Any) -> Any:
    """Dataclasses as maps, tuples as lists, enumerations as text: what QML understands."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (item.name for item in dataclasses.fields(value) if item.name != "emits")
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value
