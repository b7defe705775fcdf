"""Pictures of the screens: every screen with made-up contents, drawn offscreen at the panel's size.

The contents are invented and the preview is a drawing: no picture of a person is needed or shown. The clock
stands still, so that the same code gives the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from PySide6.QtCore import QCoreApplication, QSize
from PySide6.QtGui import QImage

from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind
from kiosk.domain.decision import Factor, Reason, Refuse
from kiosk.domain.limits import LimitKind, OverLimit
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    ANSWER_MS,
    CONFIRM_MS,
    FACTOR_MS,
    LOOK_MS,
    OFFER_MS,
    PIN_MS,
    REFUSED_MS,
    RESULT_MS,
    UNKNOWN_SHOWN_MS,
    Answer,
    Approved,
    Challenged,
    Declined,
    Evidence,
    Identified,
    Looking,
    Means,
    NotSent,
    Offered,
    Order,
    OtherMeans,
    Payer,
    PinEntry,
    Refused,
    Result,
    Reversed,
    Reversing,
    SecondFactor,
    Sent,
    Unknown,
    Watched,
    challenge_ms,
)
from kiosk.domain.ports import Mode
from kiosk.frames import Frame, PixelFormat
from kiosk.ui.bridge import Bridge
from kiosk.ui.view import (
    Closed,
    Flash,
    Hint,
    Look,
    Page,
    ReceiptKind,
    ReceiptStatus,
    Session,
    Shop,
    Showing,
)
from kiosk.ui.window import application, stage, unload

__all__ = ["ORIENTATIONS", "SCENES", "THEMES", "Picture", "Scene", "pictures", "render", "synthetic_face"]

ORIENTATIONS: Final = {"portrait": QSize(1080, 1920), "landscape": QSize(1920, 1080)}
THEMES: Final = ("light", "dark")
NOW: Final = 1_000_000
"""The clock of all pictures, ms."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One screen in one situation. `name` is `<screen>` or `<screen>-<situation>`; `page` is open over it."""

    name: str
    showing: Showing
    page: Page | None = None
    digits: str = ""
    pin: int = 0
    mode: Mode = "demo"


@dataclass(frozen=True, slots=True)
class Picture:
    """One scene, language, orientation and theme."""

    scene: Scene
    language: str
    orientation: str
    theme: str

    @property
    def name(self) -> str:
        """File name without its ending."""
        return f"{self.scene.name}.{self.language}.{self.orientation}.{self.theme}"


SHOP: Final = Shop(
    name="Lantern Tea House 灯笼茶馆",
    mode="demo",
    provider="Sandbox Pay",
    licence="SBX-0001",
    means=(Means.TILL, Means.ACQUIRER_QR, Means.STAFF),
    receipts=(ReceiptKind.PRINT, ReceiptKind.QR),
)
_ORDER: Final = Order("T-20418", Money(3850, "CNY"), "Lantern Tea House 灯笼茶馆")
_LARGE: Final = Order(
    "T-20419",
    Money(12_345_678, "CNY"),
    "The Very Long Named Trading Company of Harbour Road 海港路进出口贸易有限公司",
)
_PAYER: Final = Payer("tok", "*明", "Wallet •••• 4821", "c1")
_PROOF: Final = Evidence(("face",), 1, "high", "high", "high", ("m",), 7)
_REF: Final = "01938a6e-4f00-7c11-9d2e-5b7a4f2a91c0"


def _until(total_ms: int) -> int:
    return NOW + round(total_ms * 0.7)


def _refused(name: str, refusal: Refuse, attempt: int = 1) -> Scene:
    return Scene(f"refused-{name}", Showing(Refused(_ORDER, attempt, refusal, _until(REFUSED_MS))))


def _look(name: str, hint: Hint, progress: float) -> Scene:
    return Scene(name, Showing(Looking(_ORDER, 1, _until(LOOK_MS)), Look(hint, progress)))


def _challenge(name: str, asked: Challenge, look: Look | None = None, flash: Flash | None = None) -> Scene:
    state = Challenged(_ORDER, 1, asked, 1, _until(challenge_ms(asked)))
    return Scene(name, Showing(state, look or Look(progress=0.4), flash or Flash()))


_FLASH: Final = Challenge(ChallengeKind.FLASH, FLASH_COLOURS, step_ms=500)
_LOCKED_UNTIL: Final = datetime(2026, 11, 25, 16, 35, tzinfo=UTC)
_OVER: Final = Refuse(Reason.OVER_LIMIT, OverLimit(LimitKind.PER_PAYMENT, Money(50_000, "CNY")))
_APPROVED: Final = Approved(_ORDER, _REF, Answer(Result.APPROVED, approval="483920"), _until(RESULT_MS))
_SECOND: Final = SecondFactor(_ORDER, 1, Factor.DIGITS, 0, _until(FACTOR_MS))
_PIN: Final = PinEntry(_LARGE, _PAYER, _PROOF, 0, _until(PIN_MS))

SCENES: Final = (
    Scene("idle", Showing()),
    Scene("idle-production", Showing(), mode="production"),
    Scene("privacy", Showing(), page=Page.PRIVACY),
    Scene("out_of_order", Showing(closed=Closed.OUT_OF_ORDER)),
    Scene("out_of_order-maintenance", Showing(closed=Closed.MAINTENANCE)),
    Scene("offer", Showing(Offered(_ORDER, _until(OFFER_MS)))),
    Scene("offer-long", Showing(Offered(_LARGE, _until(OFFER_MS)))),
    Scene("offer-over_limit", Showing(Offered(_LARGE, _until(OFFER_MS), _OVER))),
    Scene("offer-face_off", Showing(Offered(_ORDER, _until(OFFER_MS), Refuse(Reason.FACE_NOT_ALLOWED)))),
    Scene("ways", Showing(Offered(_ORDER, _until(OFFER_MS))), page=Page.WAYS),
    _look("look", Hint.NONE, 0.0),
    _look("look-closer", Hint.CLOSER, 0.25),
    _look("look-light", Hint.LESS_LIGHT, 0.4),
    _look("look-still", Hint.HOLD_STILL, 0.8),
    _challenge("challenge-left", Challenge(ChallengeKind.TURN_LEFT)),
    _challenge("challenge-right", Challenge(ChallengeKind.TURN_RIGHT), Look(Hint.CLOSER)),
    _challenge("challenge-blink", Challenge(ChallengeKind.BLINK)),
    _challenge("flash-soon", _FLASH, flash=Flash(seconds=3)),
    _challenge("flash-red", _FLASH, flash=Flash(index=0)),
    _challenge("flash-green", _FLASH, Look(Hint.CLOSER, 0.6), Flash(index=1)),
    _challenge("flash-blue", _FLASH, flash=Flash(index=2)),
    _challenge("flash-black", _FLASH, flash=Flash(index=4)),
    _challenge("flash-over", _FLASH, flash=Flash(over=True)),
    Scene("digits", Showing(_SECOND), digits="48"),
    Scene("digits-wrong", Showing(replace(_SECOND, tries=1))),
    Scene("pin", Showing(_PIN), pin=3),
    Scene("pin-long", Showing(_PIN), pin=12),
    Scene("pin-wrong", Showing(replace(_PIN, tries=1))),
    Scene("confirm", Showing(Identified(_ORDER, _PAYER, _PROOF, _REF, _until(CONFIRM_MS)))),
    Scene("confirm-long", Showing(Identified(_LARGE, _PAYER, _PROOF, _REF, _until(CONFIRM_MS)))),
    Scene("working", Showing(Sent(_ORDER, _PAYER, _REF, _until(ANSWER_MS)))),
    Scene("approved", Showing(_APPROVED)),
    Scene("approved-printed", Showing(_APPROVED, receipt=ReceiptStatus.PRINTED)),
    Scene(
        "approved-qr", Showing(_APPROVED, receipt=ReceiptStatus.QR, qr="https://receipts.example/r/4F2A91C0")
    ),
    Scene(
        "declined",
        Showing(
            Declined(_ORDER, _REF, Answer(Result.DECLINED, code="insufficient_funds"), _until(RESULT_MS))
        ),
    ),
    _refused("not_recognised", Refuse(Reason.NOT_RECOGNISED)),
    _refused("attack", Refuse(Reason.ATTACK_SUSPECTED)),
    _refused("unsure", Refuse(Reason.LIVENESS_UNSURE), attempt=3),
    _refused("two_faces", Refuse(Reason.TWO_FACES)),
    _refused("over_limit", _OVER),
    _refused("locked", Refuse(Reason.LOCKED, opens_at=_LOCKED_UNTIL), attempt=3),
    Scene("offer-stale", Showing(Offered(_ORDER, _until(OFFER_MS), Refuse(Reason.GALLERY_STALE)))),
    Scene("not_sent", Showing(NotSent(_ORDER, _REF, _until(RESULT_MS)))),
    Scene("checking", Showing(Unknown(_ORDER, _REF, 1, _until(UNKNOWN_SHOWN_MS), NOW))),
    Scene("checking-reversing", Showing(Reversing(_ORDER, _REF, 1, _until(UNKNOWN_SHOWN_MS), NOW))),
    Scene("reversed", Showing(Reversed(_ORDER, _REF, _until(RESULT_MS)))),
    Scene("other_way-till", Showing(OtherMeans(_ORDER, Means.TILL, _until(RESULT_MS)))),
    Scene("other_way-staff", Showing(OtherMeans(_ORDER, Means.STAFF, _until(RESULT_MS)))),
    Scene(
        "other_way-qr",
        Showing(OtherMeans(_ORDER, Means.ACQUIRER_QR, _until(RESULT_MS)), qr="https://pay.example/o/T-20418"),
    ),
)
"""Every screen, and the situations that look different."""


def pictures(only: str | None = None) -> Iterator[Picture]:
    """Every scene x language x orientation x theme; `only` keeps the scenes of one name or screen."""
    for scene in SCENES:
        if only is None or only in (scene.name, scene.name.partition("-")[0]):
            for language in SHOP.languages:
                for orientation in ORIENTATIONS:
                    for theme in THEMES:
                        yield Picture(scene, language, orientation, theme)


def render(picture: Picture, *, size: QSize | None = None) -> QImage:
    """Draw one picture, `size` large (the panel's size unless told). Needs `application()`."""
    application()
    bridge = bridge_for(picture)
    window = stage(bridge)
    window.resize(size or ORIENTATIONS[picture.orientation])
    window.show()
    for _ in range(3):  # layouts settle, then what depended on them
        QCoreApplication.processEvents()
    image = window.grabWindow()
    unload(window)
    return image


def bridge_for(picture: Picture) -> Bridge:
    """A bridge that shows the picture's scene, with its clock standing still."""
    scene = picture.scene
    shop = replace(SHOP, mode=scene.mode)
    bridge = Bridge(
        shop,
        lambda _: None,
        clock=lambda: NOW,
        dark=picture.theme == "dark",
        reduced_motion=True,
    )
    session = Session(
        picture.language, scene.page, scene.digits, scene.pin, NOW + 42_000 if scene.page else None
    )
    bridge.set_scene(scene.showing, session)
    if isinstance(scene.showing.state, Watched):
        bridge.show_frame(synthetic_face())
    return bridge


def synthetic_face() -> Frame:
    """A drawn head and shoulders in soft light: uint8[480, 640, 3], RGB. Nobody's face."""
    rows, columns = np.mgrid[0:480, 0:640].astype(np.float32)
    across, down = (columns - 320) / 640, (rows - 240) / 480
    picture = np.stack(
        [186 - 70 * down + 24 * across, 196 - 62 * down, 205 - 40 * down - 30 * across], axis=-1
    )

    def paint(
        centre: tuple[int, int], radii: tuple[int, int], colour: tuple[int, int, int], soft: float = 1.5
    ) -> None:
        distance = np.hypot((columns - centre[0]) / radii[0], (rows - centre[1]) / radii[1])
        cover = np.clip((1 - distance) * min(radii) / soft + 0.5, 0, 1)[..., None]
        picture[:] = picture * (1 - cover) + np.array(colour, np.float32) * cover

    hair, skin, shade = (46, 36, 34), (222, 176, 146), (200, 152, 124)
    paint((320, 575), (215, 190), (52, 84, 112), 3)
    paint((320, 410), (52, 70), shade, 3)
    paint((320, 232), (128, 165), hair, 3)
    paint((320, 262), (108, 142), skin, 3)
    paint((320, 150), (106, 62), hair, 4)
    for x in (278, 362):
        paint((x, 252), (13, 8), (250, 248, 245))
        paint((x, 252), (7, 8), hair)
        paint((x, 228), (24, 5), (70, 52, 46), 2)
    paint((320, 298), (13, 9), shade, 6)
    paint((320, 336), (36, 13), (170, 84, 78), 3)
    paint((320, 329), (38, 9), skin, 3)
    return Frame(
        (np.clip(picture, 0, 255).astype(np.uint8),), PixelFormat.RGB888, 640, 480, timestamp_ns=0, sequence=0
    )


def save(picture: Picture, folder: Path) -> Path:
    """Draw one picture into `folder`; returns the file."""
    path = folder / f"{picture.name}.png"
    if not render(picture).save(str(path)):
        raise OSError(f"{path} can't be written")
    return path
