"""The bridge: presses become the current view's events; what other threads show arrives, newest first."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtGui import QGuiApplication

from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind
from kiosk.domain.decision import Factor
from kiosk.domain.payment import (
    CONFIRM_MS,
    NOTICE_MS,
    Approved,
    Cancel,
    Challenged,
    Confirm,
    DigitsTyped,
    Idle,
    Looking,
    Offered,
    PayWithFace,
    SecondFactor,
)
from kiosk.domain.pin import PinTyped
from kiosk.ui.bridge import Bridge
from kiosk.ui.preview import PREVIEW_SIDE_PX, mirrored_image
from kiosk.ui.screenshot import SCENES, SHOP, synthetic_face
from kiosk.ui.view import (
    ChooseLanguage,
    ChooseReceipt,
    Closed,
    Hint,
    Look,
    ReceiptKind,
    ReceiptStatus,
    Screen,
)


def state_of(name: str):
    return next(scene.showing.state for scene in SCENES if scene.name == name)


ORDER = state_of("offer").order


class Kiosk:
    """A bridge with a clock that the test moves and a list of what was emitted."""

    def __init__(self, guard_ms: int = 0) -> None:
        self.now = 1_000_000
        self.emitted: list[object] = []
        self.bridge = Bridge(SHOP, self.emitted.append, clock=lambda: self.now, guard_ms=guard_ms)

    @property
    def screen(self) -> Screen:
        return self.bridge.current.screen

    def later(self, ms: int) -> None:
        self.now += ms
        self.bridge._tick()


@pytest.fixture
def kiosk(qapp: QGuiApplication) -> Kiosk:
    return Kiosk()


def test_a_press_emits_the_event_of_the_button(kiosk: Kiosk) -> None:
    kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
    kiosk.bridge.press("pay_with_face")
    assert kiosk.emitted == [PayWithFace()]
    assert kiosk.screen is Screen.OFFER  # the kernel decides what comes next


def test_a_press_on_a_button_that_is_not_there_does_nothing(kiosk: Kiosk) -> None:
    kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
    kiosk.bridge.press("confirm")
    kiosk.bridge.digit("1")
    assert kiosk.emitted == []


def test_a_press_that_was_meant_for_the_screen_before_does_not_pay(qapp: QGuiApplication) -> None:
    kiosk = Kiosk(guard_ms=350)
    kiosk.bridge.show(Looking(ORDER, 1, kiosk.now + 15_000))
    kiosk.bridge.show(replace(state_of("confirm"), until=kiosk.now + CONFIRM_MS))
    kiosk.now += 300
    kiosk.bridge.press("confirm")
    assert kiosk.emitted == []
    kiosk.now += 50
    kiosk.bridge.press("confirm")
    assert kiosk.emitted == [Confirm()]


def test_other_ways_open_a_page_that_closes_with_the_state(kiosk: Kiosk) -> None:
    kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
    kiosk.bridge.press("pay_another_way")
    assert kiosk.screen is Screen.WAYS
    assert kiosk.emitted == []
    kiosk.bridge.press("back")
    assert kiosk.screen is Screen.OFFER
    kiosk.bridge.press("pay_another_way")
    kiosk.bridge.show(Idle())
    assert kiosk.screen is Screen.IDLE


def test_a_language_lasts_as_long_as_the_shopper(kiosk: Kiosk) -> None:
    kiosk.bridge.choose("zh-Hans")
    assert kiosk.emitted == [ChooseLanguage("zh-Hans")]
    kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
    assert kiosk.bridge.current.language == "zh-Hans"
    kiosk.bridge.show(Idle())
    assert kiosk.bridge.current.language == "en"


def test_an_untouched_page_and_language_are_given_up_after_a_minute(kiosk: Kiosk) -> None:
    kiosk.bridge.choose("zh-Hans")
    kiosk.bridge.press("privacy")
    kiosk.later(59_000)
    assert kiosk.screen is Screen.PRIVACY
    assert kiosk.bridge.countdownText.startswith("1 ")
    kiosk.later(1_000)
    assert kiosk.screen is Screen.IDLE
    assert kiosk.bridge.current.language == "en"
    assert kiosk.bridge.countdownText == ""


def test_the_fourth_digit_sends_them_and_a_mistake_can_be_taken_back(kiosk: Kiosk) -> None:
    kiosk.bridge.show(SecondFactor(ORDER, 1, Factor.DIGITS, 0, kiosk.now + 30_000))
    for digit in "129":
        kiosk.bridge.digit(digit)
    kiosk.bridge.erase()
    kiosk.bridge.digit("3")
    assert kiosk.bridge.current.digits == 3
    kiosk.bridge.digit("4")
    assert kiosk.emitted == [DigitsTyped("1234")]
    kiosk.bridge.digit("5")
    kiosk.bridge.erase()
    assert kiosk.bridge.current.digits == 4


def test_wrong_digits_are_said_after_they_were_checked_not_while(kiosk: Kiosk) -> None:
    asked = SecondFactor(ORDER, 1, Factor.DIGITS, 0, kiosk.now + 30_000)
    kiosk.bridge.show(asked)
    for digit in "1234":
        kiosk.bridge.digit(digit)
    kiosk.bridge.show(replace(asked, tries=1))
    assert kiosk.bridge.current.busy
    kiosk.bridge.show(replace(asked, tries=1, until=asked.until + 1))
    assert kiosk.bridge.current.digits == 0
    assert "did not match" in kiosk.bridge.current.body


def test_a_pin_goes_on_with_the_green_key_and_leaves_nothing_here(kiosk: Kiosk) -> None:
    kiosk.bridge.show(replace(state_of("pin"), until=kiosk.now + 45_000))
    for digit in "908x":
        kiosk.bridge.digit(digit)
    kiosk.bridge.press("confirm")
    assert kiosk.emitted == []  # three digits are no PIN
    for digit in "172":
        kiosk.bridge.digit(digit)
    kiosk.bridge.erase()
    assert kiosk.bridge.current.digits == 5
    assert "90817" not in repr(vars(kiosk.bridge)) + repr(kiosk.bridge.current)
    kiosk.bridge.press("confirm")
    (typed,) = kiosk.emitted
    assert isinstance(typed, PinTyped)
    assert typed.pin.reveal() == b"90817"
    assert (len(kiosk.bridge._pin), kiosk.bridge.current.digits) == (0, 0)


def test_a_pin_has_twelve_digits_at_most_and_is_forgotten_when_the_page_goes(kiosk: Kiosk) -> None:
    kiosk.bridge.show(replace(state_of("pin-wrong"), until=kiosk.now + 45_000))
    assert "not right" in kiosk.bridge.current.body
    for _ in range(15):
        kiosk.bridge.digit("7")
    assert kiosk.bridge.current.digits == kiosk.bridge.current.slots == 12
    kiosk.bridge.show(Idle())
    assert len(kiosk.bridge._pin) == 0


def test_a_new_look_starts_from_nothing(kiosk: Kiosk) -> None:
    kiosk.bridge.show(Looking(ORDER, 1, kiosk.now + 15_000))
    kiosk.bridge.show_look(Look(Hint.CLOSER, 0.5))
    assert kiosk.bridge.progress == 0.5
    assert "closer" in kiosk.bridge.current.title
    kiosk.bridge.show(Looking(ORDER, 2, kiosk.now + 15_000))
    assert kiosk.bridge.progress == 0


def test_frames_are_shown_only_while_looking_and_forgotten_afterwards(
    kiosk: Kiosk, qapp: QGuiApplication
) -> None:
    frame = synthetic_face()
    kiosk.bridge.show_frame(frame)
    qapp.processEvents()
    assert kiosk.bridge.image is None
    kiosk.bridge.show(Looking(ORDER, 1, kiosk.now + 15_000))
    kiosk.bridge.show_frame(frame)
    qapp.processEvents()
    assert kiosk.bridge.image is not None
    kiosk.bridge.show(Idle())
    assert kiosk.bridge.image is None


# --- challenges -----------------------------------------------------------------------------------------

TURN = Challenge(ChallengeKind.TURN_LEFT)
FLASH = Challenge(ChallengeKind.FLASH, FLASH_COLOURS[:3], 400)


class Glass:
    """The window's part: `draw` puts what is asked for onto the screen; `told` is what the worker hears."""

    def __init__(self, kiosk: Kiosk) -> None:
        self.kiosk, self.told = kiosk, []
        kiosk.bridge.on_shown = lambda challenge, index, at_ns: self.told.append((challenge, index))

    def ask(self, challenge: Challenge, number: int = 1) -> None:
        state = Challenged(ORDER, 1, challenge, number, self.kiosk.now + 10_000)
        self.kiosk.bridge.show(state)

    def draw(self) -> None:
        self.kiosk.bridge.frame_begun()
        self.kiosk.bridge.frame_swapped()

    def later(self, ms: int) -> None:
        self.kiosk.now += ms
        self.kiosk.bridge._tick_flash()


@pytest.fixture
def glass(kiosk: Kiosk) -> Glass:
    return Glass(kiosk)


def test_a_request_is_reported_once_and_only_when_it_is_on_the_screen(kiosk: Kiosk, glass: Glass) -> None:
    glass.draw()
    kiosk.bridge.frame_begun()  # what was begun before the request was there ...
    glass.ask(TURN)
    assert kiosk.screen is Screen.CHALLENGE
    kiosk.bridge.frame_swapped()  # ... doesn't show it
    assert glass.told == []
    glass.draw()
    glass.draw()
    assert glass.told == [(TURN, 0)]
    assert glass.told[0][0] is TURN


def test_the_same_request_of_another_look_is_reported_again(glass: Glass) -> None:
    again = Challenge(ChallengeKind.TURN_LEFT)
    assert again == TURN
    for challenge in (TURN, again):
        glass.ask(challenge)
        glass.draw()
    assert [challenge is again for challenge, _ in glass.told] == [False, True]


def test_a_flash_is_announced_and_then_every_colour_is_shown_and_reported(kiosk: Kiosk, glass: Glass) -> None:
    glass.ask(FLASH)
    assert kiosk.screen is Screen.FLASH
    glass.draw()
    assert (kiosk.bridge.current.count, kiosk.bridge.current.colour) == ("3", "")
    assert glass.told == [], "the announcement is no colour"
    glass.later(NOTICE_MS)
    colours = []
    for _ in FLASH.colours:
        colours.append(kiosk.bridge.current.colour)
        glass.draw()
        glass.later(399)
        assert kiosk.bridge.current.colour == colours[-1]
        glass.later(1)
    assert colours == ["#ff2828", "#28ff28", "#3c3cff"]
    assert glass.told == [(FLASH, 0), (FLASH, 1), (FLASH, 2)]
    assert kiosk.bridge.current.colour == ""
    assert not kiosk.bridge._flash_timer.isActive()


def test_a_colour_that_is_not_drawn_is_not_left_behind(kiosk: Kiosk, glass: Glass) -> None:
    glass.ask(FLASH)
    glass.later(NOTICE_MS)
    glass.later(10_000)
    assert kiosk.bridge.current.colour == "#ff2828"
    assert glass.told == []


def test_who_opens_another_page_is_not_flashed_at_any_more(kiosk: Kiosk, glass: Glass) -> None:
    glass.ask(FLASH)
    glass.later(NOTICE_MS)
    glass.draw()
    kiosk.bridge.press("pay_another_way")
    assert kiosk.screen is Screen.WAYS
    glass.later(1_000)
    glass.draw()
    kiosk.bridge.press("back")
    glass.later(1_000)
    glass.draw()
    assert kiosk.screen is Screen.FLASH
    assert kiosk.bridge.current.colour == ""
    assert glass.told == [(FLASH, 0)]


def test_a_cancel_ends_the_flash(kiosk: Kiosk, glass: Glass) -> None:
    glass.ask(FLASH)
    kiosk.bridge.press("cancel")
    assert kiosk.emitted == [Cancel()]
    kiosk.bridge.show(Idle())
    glass.later(NOTICE_MS)
    glass.draw()
    assert glass.told == []
    assert not kiosk.bridge._flash_timer.isActive()


def test_the_preview_goes_on_from_the_look_into_its_challenges_and_the_hint_starts_anew(
    kiosk: Kiosk, qapp: QGuiApplication
) -> None:
    kiosk.bridge.show(Looking(ORDER, 1, kiosk.now + 15_000))
    kiosk.bridge.show_look(Look(Hint.CLOSER, 1.0))
    kiosk.bridge.show_frame(synthetic_face())
    qapp.processEvents()
    for number, challenge in enumerate((TURN, FLASH), start=1):
        kiosk.bridge.show(Challenged(ORDER, 1, challenge, number, kiosk.now + 10_000))
        assert kiosk.bridge.image is not None
        assert kiosk.bridge.progress == 0
        kiosk.bridge.show_look(Look(Hint.HOLD_STILL, 0.5))
        assert kiosk.bridge.progress == 0.5
    kiosk.bridge.show(Idle())
    assert kiosk.bridge.image is None


def test_the_preview_is_a_small_mirror_image_of_its_own(qapp: QGuiApplication) -> None:
    frame = synthetic_face()
    wide = np.repeat(np.repeat(frame.planes[0], 2, axis=0), 2, axis=1)
    wide[:, :20] = 0
    image = mirrored_image(replace(frame, planes=(wide,), width=1280, height=960))
    wide[:] = 255
    assert max(image.width(), image.height()) == PREVIEW_SIDE_PX
    assert image.pixelColor(image.width() - 2, 100).lightness() < 10
    assert image.pixelColor(1, 100).lightness() > 100


def test_what_another_thread_shows_arrives_in_order(kiosk: Kiosk, qtbot) -> None:
    def kernel() -> None:
        kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
        kiosk.bridge.show(Looking(ORDER, 1, kiosk.now + 15_000))
        kiosk.bridge.show_look(Look(Hint.HOLD_STILL, 0.75))

    thread = threading.Thread(target=kernel)
    thread.start()
    thread.join()
    assert kiosk.screen is Screen.IDLE
    qtbot.waitUntil(lambda: kiosk.bridge.progress == 0.75, timeout=2_000)
    assert kiosk.screen is Screen.LOOK


def test_a_receipt_is_asked_for_and_its_fate_is_shown(kiosk: Kiosk) -> None:
    approved = replace(state_of("approved"), until=kiosk.now + 10_000)
    assert isinstance(approved, Approved)
    kiosk.bridge.show(approved)
    kiosk.bridge.press("receipt_print")
    assert kiosk.emitted == [ChooseReceipt(ReceiptKind.PRINT)]
    kiosk.bridge.show(approved, receipt=ReceiptStatus.FAILED)
    assert "printer has a problem" in kiosk.bridge.current.body
    kiosk.bridge.show(approved, receipt=ReceiptStatus.QR, qr="https://receipts.example/1")
    assert kiosk.bridge.current.qr == "https://receipts.example/1"


def test_a_closed_kiosk_says_so_at_the_idle_screen_and_ends_no_payment(kiosk: Kiosk) -> None:
    kiosk.bridge.show_closed(Closed.OUT_OF_ORDER)
    assert kiosk.screen is Screen.OUT_OF_ORDER
    kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
    assert kiosk.screen is Screen.OFFER
    kiosk.bridge.show(Idle())
    kiosk.bridge.show_closed(None)
    assert kiosk.screen is Screen.IDLE


def test_a_policy_that_comes_names_the_provider_on_the_next_screen(kiosk: Kiosk) -> None:
    shop = replace(kiosk.bridge._shop, name="Other Shop", provider="Other Pay")
    kiosk.bridge.show_shop(shop)
    assert kiosk.bridge.current.shop == "Other Shop"


def test_qml_sees_no_events(kiosk: Kiosk) -> None:
    kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
    assert set(kiosk.bridge.view["actions"][0]) == {"id", "label", "icon", "weight"}
    assert kiosk.bridge.view["screen"] == "offer"


def test_nothing_ticks_while_the_kiosk_rests(kiosk: Kiosk) -> None:
    assert not kiosk.bridge._timer.isActive()
    kiosk.bridge.show(Offered(ORDER, kiosk.now + 60_000))
    assert kiosk.bridge._timer.isActive()
    kiosk.bridge.press("cancel")
    assert kiosk.emitted == [Cancel()]
    kiosk.bridge.show(Idle())
    assert not kiosk.bridge._timer.isActive()
