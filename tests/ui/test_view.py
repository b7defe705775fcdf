"""What the screens say: every state has its words, every button its event, no language lacks a line."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import get_args

import pytest

from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind
from kiosk.domain.decision import Reason, Refuse
from kiosk.domain.limits import LimitKind, OverLimit
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Cancel,
    Challenged,
    Declined,
    Done,
    Event,
    Idle,
    Looking,
    Means,
    Offered,
    OtherMeans,
    PayAnotherWay,
    PayWithFace,
    Refused,
    Result,
    State,
    step,
)
from kiosk.ui.screenshot import NOW, SCENES, SHOP, Scene
from kiosk.ui.texts import languages, texts
from kiosk.ui.view import (
    Closed,
    ClosePage,
    Flash,
    Hint,
    Look,
    OpenPage,
    Page,
    ReceiptStatus,
    Screen,
    SendPin,
    Session,
    Showing,
    View,
    Weight,
    countdown,
    view,
)
from kiosk.vision.quality import Hint as VisionHint

ORDER = next(scene for scene in SCENES if scene.name == "offer").showing.state.order
EN = Session("en")


def seen(scene: Scene, language: str = "en") -> View:
    return view(scene.showing, Session(language, scene.page, scene.digits), replace(SHOP, mode=scene.mode))


def show(state: State, **rest: object) -> View:
    return view(Showing(state, **rest), EN, SHOP)


def everything(view_: View) -> str:
    return " ".join(
        [view_.title, view_.body, view_.note, view_.amount]
        + [part for fact in view_.facts for part in (fact.label, fact.value)]
    )


def test_the_scenes_show_every_state_and_every_screen() -> None:
    assert {type(scene.showing.state) for scene in SCENES} == set(get_args(State))
    assert {seen(scene).screen for scene in SCENES} == set(Screen)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_screen_has_a_way_back_and_a_visible_time_out(scene: Scene) -> None:
    shown = seen(scene)
    ways_back = [action for action in shown.actions if isinstance(action.emits, Cancel | Done | ClosePage)]
    if shown.screen in (Screen.IDLE, Screen.OUT_OF_ORDER):
        assert countdown(scene.showing, EN, NOW) is None
        return
    if shown.screen is not Screen.WORKING:  # what was sent can't be taken back by a press
        assert ways_back
    session = Session("en", scene.page, until=NOW + 5_000 if scene.page else None)
    left = countdown(scene.showing, session, NOW)
    assert left is not None
    assert 0 < left.left_ms <= left.total_ms
    assert str(-(-left.left_ms // 1000)) in left.text


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_every_button_does_something_in_the_machine(scene: Scene) -> None:
    for action in seen(scene).actions:
        assert action.label
        assert action.icon
        if isinstance(action.emits, get_args(Event)):
            after, effects = step(scene.showing.state, action.emits, NOW)
            assert (after, effects) != (scene.showing.state, ()), action.id


def test_the_face_and_the_other_way_have_the_same_weight() -> None:
    face, other, cancel = seen(next(scene for scene in SCENES if scene.name == "offer")).actions
    assert isinstance(face.emits, PayWithFace)
    assert face.weight is other.weight is Weight.PRIMARY
    assert cancel.weight is Weight.PLAIN


def test_one_other_way_is_one_press_and_several_open_a_page() -> None:
    one = replace(SHOP, means=(Means.STAFF,))
    offered = Showing(Offered(ORDER, NOW))
    assert PayAnotherWay(Means.STAFF) in [action.emits for action in view(offered, EN, one).actions]
    assert OpenPage(Page.WAYS) in [action.emits for action in view(offered, EN, SHOP).actions]
    ways = view(offered, Session("en", Page.WAYS), SHOP)
    assert [action.emits for action in ways.actions] == [*map(PayAnotherWay, SHOP.means), ClosePage()]


def test_where_a_look_cannot_help_only_the_other_ways_are_offered_and_the_reason_is_said() -> None:
    limit = OverLimit(LimitKind.PER_PAYMENT, Money(50_000, "CNY"))
    shown = show(Offered(ORDER, NOW, Refuse(Reason.OVER_LIMIT, limit)))
    assert not any(isinstance(action.emits, PayWithFace) for action in shown.actions)
    assert "¥\u00a0500.00" in shown.body


def test_the_confirm_page_names_amount_payee_masked_payer_and_the_licence() -> None:
    shown = seen(next(scene for scene in SCENES if scene.name == "confirm"))
    said = everything(shown)
    for part in ("¥\u00a038.50", ORDER.payee, "*明", "•••• 4821", SHOP.provider, SHOP.licence):
        assert part in said
    assert shown.actions[0].label == "Pay ¥\u00a038.50"


def test_nobody_is_told_who_they_look_like_when_they_are_refused() -> None:
    for scene in SCENES:
        if isinstance(scene.showing.state, Refused):
            assert "*明" not in everything(seen(scene))


def test_the_unknown_outcome_says_not_to_pay_again_and_gives_staff_the_reference() -> None:
    for name in ("checking", "checking-reversing"):
        shown = seen(next(scene for scene in SCENES if scene.name == name))
        assert "don't pay again" in shown.title
        assert "4F2A-91C0" in everything(shown)


def test_what_is_not_charged_says_so() -> None:
    for scene in SCENES:
        if seen(scene).screen in (Screen.REFUSED, Screen.DECLINED, Screen.NOT_SENT, Screen.REVERSED):
            assert "othing was charged" in everything(seen(scene)), scene.name


def test_the_last_look_is_not_offered_again() -> None:
    again = [type(action.emits) for action in show(Refused(ORDER, 3, Refuse(Reason.NO_FACE), NOW)).actions]
    assert PayWithFace not in again


def test_the_pin_page_says_what_is_paid_to_whom_and_a_wrong_pin_how_many_are_left() -> None:
    scenes = {scene.name: scene for scene in SCENES}
    asked, wrong = seen(scenes["pin"]), seen(scenes["pin-wrong"])
    amount = asked.actions[0].label.removeprefix("Pay ")
    assert amount in asked.title
    assert scenes["pin"].showing.state.order.payee in asked.body
    assert "Tries left: 2" in wrong.body
    assert isinstance(asked.actions[0].emits, SendPin)


def test_a_mode_that_is_not_production_is_on_every_screen() -> None:
    for mode, scene in product(("demo", "test", "training"), SCENES):
        assert seen(replace(scene, mode=mode)).banner
    assert not seen(replace(SCENES[0], mode="production")).banner


FLASH = Challenge(ChallengeKind.FLASH, FLASH_COLOURS[:3], 400)


def challenge(asked: Challenge, **rest: object) -> View:
    return show(Challenged(ORDER, 1, asked, 1, NOW + 5_000), **rest)


@pytest.mark.parametrize("kind", [kind for kind in ChallengeKind if kind is not ChallengeKind.FLASH])
def test_a_request_is_said_and_shown_by_a_head_of_its_own(kind: ChallengeKind) -> None:
    asked = challenge(Challenge(kind))
    assert asked.screen is Screen.CHALLENGE
    assert asked.title
    assert asked.pose == {"turn_left": "left", "turn_right": "right"}.get(kind, "blink")
    assert asked.body == texts("en")("challenge.why")
    hinted = challenge(Challenge(kind), look=Look(Hint.CLOSER))
    assert (hinted.title, hinted.body) == (asked.title, texts("en")("hint.closer"))


def test_a_flash_is_announced_with_a_way_out_before_any_colour() -> None:
    soon = challenge(FLASH, flash=Flash(seconds=3))
    assert (soon.count, soon.colour) == ("3", "")
    assert "flashing light" in soon.body
    lit = [challenge(FLASH, flash=Flash(index=index)) for index in range(3)]
    assert [one.colour for one in lit] == ["#ff2828", "#28ff28", "#3c3cff"]
    over = challenge(FLASH, flash=Flash(over=True))
    assert over.colour == over.count == ""
    for shown in (soon, *lit, over):
        assert shown.night, "only the colours shall light the face"
        assert [action.id for action in shown.actions] == ["pay_another_way", "cancel"]


@pytest.mark.parametrize("asked", [Challenge(ChallengeKind.BLINK), FLASH])
def test_another_way_is_as_large_in_a_challenge_as_in_a_look(asked: Challenge) -> None:
    looking = show(Looking(ORDER, 1, NOW)).actions[0]
    assert challenge(asked).actions[0] == looking


def test_privacy_opens_only_over_the_idle_screen() -> None:
    assert view(Showing(), Session("en", Page.PRIVACY), SHOP).screen is Screen.PRIVACY
    looking = Showing(Looking(ORDER, 1, NOW))
    assert view(looking, Session("en", Page.PRIVACY), SHOP).screen is Screen.LOOK


def test_every_hint_of_the_camera_has_words_and_an_icon() -> None:
    assert {hint.value for hint in VisionHint} <= {hint.value for hint in Hint}
    shown = [view(Showing(Looking(ORDER, 1, NOW), Look(hint)), EN, SHOP) for hint in Hint]
    assert len({one.title for one in shown}) == len(Hint)
    assert all(one.icon for one in shown)


@pytest.mark.parametrize("language", languages())
def test_nothing_is_missing_in_a_language(language: str) -> None:
    session = Session(language)
    for reason, kind in product(Reason, [None, *LimitKind]):
        limit = OverLimit(kind, Money(1, "CNY")) if kind else None
        assert view(Showing(Refused(ORDER, 1, Refuse(reason, limit), NOW)), session, SHOP).title
        assert view(Showing(Offered(ORDER, NOW, Refuse(reason, limit))), session, SHOP).body
    for scene, hint in product(SCENES, Hint):
        showing = replace(scene.showing, look=Look(hint))
        assert view(showing, Session(language, scene.page), SHOP).title
    for scene, receipt in product(SCENES, ReceiptStatus):
        showing = replace(scene.showing, receipt=receipt)
        assert view(showing, Session(language, scene.page), SHOP).title
    for closed in Closed:
        assert view(Showing(Idle(), closed=closed), session, SHOP).title
    for means in Means:
        assert view(Showing(OtherMeans(ORDER, means, NOW)), session, SHOP).title
    for code in ("insufficient_funds", "never heard of", "", "title"):
        declined = Declined(ORDER, "ref", Answer(Result.DECLINED, code=code), NOW)
        assert view(Showing(declined), session, SHOP).body


@pytest.mark.parametrize("language", languages())
def test_languages_have_the_same_keys_and_the_same_names_in_them(language: str) -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    first, other = texts("en").table, texts(language).table
    assert set(first) == set(other)
    for key, text in first.items():
        assert names(text) == names(other[key]), key
        assert other[key].strip() == other[key] != "", key


def test_an_unknown_language_is_refused_at_start() -> None:
    with pytest.raises(KeyError, match="no language 'xx'"):
        replace(SHOP, languages=("xx",))


def test_a_code_cannot_reach_a_text_that_is_no_reason() -> None:
    shown = show(Declined(ORDER, "ref", Answer(Result.DECLINED, code="title"), NOW))
    assert shown.body == texts("en")("declined_because.other")


def test_where_the_law_closes_payment_by_face_its_own_words_are_shown() -> None:
    shown = show(Offered(ORDER, NOW, Refuse(Reason.FACE_NOT_ALLOWED, note="Not in schools (Act 7).")))
    assert "Not in schools (Act 7)." in shown.body


def test_a_cap_on_a_number_is_told_as_a_number() -> None:
    limit = OverLimit(LimitKind.PER_PERSON_HOUR_COUNT, 5)
    shown = show(Offered(ORDER, NOW, Refuse(Reason.OVER_LIMIT, limit)))
    assert "5 times an hour" in shown.body


@pytest.mark.parametrize("language", ["en", "zh-Hans"])
def test_a_lock_says_when_it_ends_where_that_is_known(language: str) -> None:
    lock = Refuse(Reason.LOCKED, opens_at=datetime(2026, 11, 25, 16, 35, tzinfo=UTC))
    for refusal, said in ((lock, True), (Refuse(Reason.LOCKED), False)):
        for state in (Refused(ORDER, 1, refusal, NOW), Offered(ORDER, NOW, refusal)):
            assert ("16:35" in everything(view(Showing(state), Session(language), SHOP))) is said
