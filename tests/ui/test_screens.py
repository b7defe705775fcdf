"""The rules of every screen, measured on what is drawn: size, place, contrast, nothing cut or missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QGuiApplication, QImage, QRawFont
from PySide6.QtQml import QQmlExpression, qmlContext
from PySide6.QtQuick import QQuickItem, QQuickView
from PySide6.QtTest import QTest

from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.payment import Answer, PayWithFace, Result
from kiosk.domain.receipt import Receipt, for_qr
from kiosk.ui.bridge import Bridge
from kiosk.ui.screenshot import NOW, ORIENTATIONS, SCENES, SHOP, Picture, bridge_for
from kiosk.ui.texts import languages, texts
from kiosk.ui.view import Hint, Look, ReceiptStatus, view
from kiosk.ui.window import FAMILIES, QML, fonts_dir, stage, unload

GRID = 1080
LEAST_TEXT_PX = 36
LEAST_TARGET_PX = 96
LEAST_CONTRAST = 7.0
PAPER = ("light", "dark")


@dataclass
class Shown:
    """A drawn scene: its window, and its shorter side's scale to the grid."""

    window: QQuickView
    picture: Picture
    bridge: Bridge

    @property
    def u(self) -> float:
        return min(self.window.width(), self.window.height()) / GRID

    def items(self, kind: str = "QQuickItem") -> list[QQuickItem]:
        return [item for item in walk(self.window.contentItem()) if item.inherits(kind)]

    def texts(self) -> list[QQuickItem]:
        return [item for item in self.items("QQuickText") if item.property("text")]

    def targets(self) -> list[QQuickItem]:
        return [item for item in self.items() if item.property("touchTarget")]


def walk(item: QQuickItem) -> Iterator[QQuickItem]:
    """All visible items below `item`."""
    for child in item.childItems():
        if child.isVisible() and child.opacity() > 0:
            yield child
            yield from walk(child)


def place(item: QQuickItem) -> QRectF:
    """Where the item is in its window; of a text, where its ink is."""
    width, height = item.width(), item.height()
    left = top = 0.0
    if item.inherits("QQuickText"):
        ink_width, ink_height = item.property("contentWidth"), item.property("contentHeight")
        asked = QQmlExpression(qmlContext(item), item, "effectiveHorizontalAlignment").evaluate()
        align = Qt.AlignmentFlag(asked[0] if isinstance(asked, tuple) else asked)
        spare = width - ink_width
        left = spare / 2 if align & Qt.AlignmentFlag.AlignHCenter else 0.0
        left = spare if align & Qt.AlignmentFlag.AlignRight else left
        top = (height - ink_height) / 2
        width, height = ink_width, ink_height
    corner = item.mapToScene(QPointF(left, top))
    return QRectF(corner, item.mapToScene(QPointF(left + width, top + height)))


@pytest.fixture
def draw(qapp: QGuiApplication):
    """Shows a picture's scene; the size is the panel's times `scale`."""
    open_: list[tuple[QQuickView, Bridge]] = []

    def drawn(picture: Picture, scale: float = 1.0) -> Shown:
        bridge = bridge_for(picture)
        window = stage(bridge)
        size = ORIENTATIONS[picture.orientation]
        window.resize(QSize(round(size.width() * scale), round(size.height() * scale)))
        window.show()
        for _ in range(3):
            QCoreApplication.processEvents()
        open_.append((window, bridge))
        return Shown(window, picture, bridge)

    yield drawn
    for window, _ in open_:
        unload(window)
    QCoreApplication.processEvents()


LAYOUTS = [
    Picture(scene, language, orientation, "light")
    for scene, language, orientation in product(SCENES, languages(), ORIENTATIONS)
]
COLOURS = [
    Picture(scene, language, orientation, theme)
    for index, scene in enumerate(SCENES)
    for theme in PAPER
    for language, orientation in [
        (languages()[index % 2], list(ORIENTATIONS)[(index + PAPER.index(theme)) % 2])
    ]
]


@pytest.mark.parametrize("picture", LAYOUTS, ids=lambda picture: picture.name)
def test_a_screen_keeps_the_rules_of_size_and_place(picture: Picture, draw) -> None:
    shown = draw(picture, scale=0.5)
    u, window = shown.u, QRectF(0, 0, shown.window.width(), shown.window.height())
    inked = shown.texts()
    assert inked
    for text in inked:
        said = text.property("text")
        font = text.property("fontInfo").property("pixelSize").toNumber()
        assert font >= LEAST_TEXT_PX * u - 0.5, f"{said!r} is {font / u:.0f} px on the grid"
        assert window.adjusted(-1, -1, 1, 1).contains(place(text)), f"{said!r} leaves the screen"
        assert text.property("contentWidth") <= text.width() + 1, f"{said!r} is wider than its place"
        assert not text.property("truncated"), f"{said!r} is cut"
    for one, other in combinations(inked, 2):
        both = place(one).intersected(place(other))
        assert min(both.width(), both.height()) < 3, (
            f"{one.property('text')!r} over {other.property('text')!r}"
        )
    for target in shown.targets():
        where = place(target)
        assert min(where.width(), where.height()) >= LEAST_TARGET_PX * u * 0.98  # 0.98: while pressed
        assert window.contains(where)
        if picture.orientation == "portrait":
            assert where.top() >= window.height() / 2, f"{target.property('label')} is out of reach"
    for one, other in combinations(shown.targets(), 2):
        assert not place(one).intersects(place(other))


@pytest.mark.parametrize("picture", COLOURS, ids=lambda picture: picture.name)
def test_text_has_contrast_in_what_is_drawn(picture: Picture, draw) -> None:
    shown = draw(picture)
    pixels = luminance(shown.window.grabWindow())
    for text in shown.texts():
        where = place(text).toAlignedRect()
        part = pixels[max(where.top(), 0) : where.bottom(), max(where.left(), 0) : where.right()]
        assert contrast(part) >= LEAST_CONTRAST, f"{text.property('text')!r}: {contrast(part):.1f}:1"


def luminance(image: QImage) -> np.ndarray:
    """Relative luminance (WCAG 2.2) of every pixel, float64[h, w]."""
    image = image.convertToFormat(QImage.Format.Format_RGBX8888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)[..., :3] / 255
    linear = np.where(raw <= 0.04045, raw / 12.92, ((raw + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast(part: np.ndarray) -> float:
    """Ink against ground: the ground is the commonest luminance, the ink the core of what differs from it."""
    values, counts = np.unique(part.round(4), return_counts=True)
    ground = values[counts.argmax()]
    ratios = (np.maximum(part, ground) + 0.05) / (np.minimum(part, ground) + 0.05)
    return float(np.percentile(ratios[ratios > 1.5], 75)) if (ratios > 1.5).any() else 1.0


@pytest.mark.parametrize(("orientation", "language"), list(product(ORIENTATIONS, languages())))
def test_both_ways_to_pay_are_exactly_as_large(orientation: str, language: str, draw) -> None:
    offer = next(scene for scene in SCENES if scene.name == "offer")
    shown = draw(Picture(offer, language, orientation, "light"))
    face, other = (place(item) for item in shown.items() if item.objectName() == "choice")
    assert face.size() == other.size()
    assert face.top() == other.top()


@pytest.mark.parametrize("language", languages())
def test_every_character_of_the_texts_is_in_the_fonts_that_ship(language: str, qapp: QGuiApplication) -> None:
    said = set("".join(texts(language).table.values())) | set("¥$€£₩0123456789,.*•")
    for weight in ("Regular", "Bold"):
        files = sorted(fonts_dir().glob(f"*-{weight}.*"))
        fonts = [QRawFont(str(file), 20, QFont.HintingPreference.PreferNoHinting) for file in files]
        assert len(fonts) == len(FAMILIES)
        missing = [char for char in said if not any(font.supportsCharacter(ord(char)) for font in fonts)]
        assert not missing, f"{weight}: {missing}"


def test_common_names_can_be_written(qapp: QGuiApplication) -> None:
    file = next(fonts_dir().glob("KioskHans-Regular.*"))
    font = QRawFont(str(file), 20, QFont.HintingPreference.PreferNoHinting)
    level_1_and_2 = [
        bytes((row, cell)).decode("gb2312", errors="ignore")
        for row in range(0xB0, 0xF8)
        for cell in range(0xA1, 0xFF)
    ]
    hanzi = [char for char in level_1_and_2 if char]
    assert len(hanzi) == 6763
    assert all(font.supportsCharacter(ord(char)) for char in hanzi)


def test_colours_are_named_in_one_file_only() -> None:
    literal = re.compile(
        r'#[0-9a-fA-F]{3,8}\b|color:\s*"|Qt\.(rgba|hsla|darker|lighter)|"(white|black|transparent)"'
    )
    for file in QML.glob("*.qml"):
        if file.name != "Tokens.qml":
            found = [line for line in file.read_text("utf-8").splitlines() if literal.search(line)]
            assert not found, f"{file.name}: {found}"


def test_no_text_for_people_stands_in_the_qml() -> None:
    words = re.compile(r'(text|label|title):\s*"[^"]*[A-Za-z]{2,}')
    for file in QML.glob("*.qml"):
        assert not words.search(file.read_text("utf-8")), file.name


def test_a_finger_on_the_face_button_reaches_the_kernel(draw, qapp: QGuiApplication) -> None:
    emitted: list[object] = []
    bridge = Bridge(SHOP, emitted.append, clock=lambda: NOW, reduced_motion=True, guard_ms=0)
    bridge.show(next(scene for scene in SCENES if scene.name == "offer").showing.state)
    window = stage(bridge)
    window.resize(540, 960)
    window.show()
    QCoreApplication.processEvents()
    shown = Shown(window, LAYOUTS[0], bridge)
    face = next(item for item in shown.targets() if item.property("label") == "Pay with face")
    QTest.mouseClick(window, Qt.MouseButton.LeftButton, pos=place(face).center().toPoint())
    assert emitted == [PayWithFace()]
    unload(window)


def test_a_press_survives_a_new_hint(qapp: QGuiApplication, draw) -> None:
    look = next(scene for scene in SCENES if scene.name == "look")
    shown = draw(Picture(look, "en", "portrait", "light"), scale=0.5)
    before = shown.targets()
    closer = next(scene for scene in SCENES if scene.name == "look-closer")
    shown.bridge.show_look(closer.showing.look)
    QCoreApplication.processEvents()
    assert [text for text in shown.texts() if "closer" in text.property("text")]
    assert shown.targets() == before


def test_the_preview_is_drawn_inside_the_oval_only(draw) -> None:
    look = next(scene for scene in SCENES if scene.name == "look")
    shown = draw(Picture(look, "en", "portrait", "light"), scale=0.5)
    preview = next(item for item in shown.items() if item.inherits("FacePreview"))
    where = place(preview).toRect()
    image = shown.window.grabWindow()
    ground = image.pixelColor(2, image.height() // 2)
    assert image.pixelColor(where.left() + 2, where.top() + 2) == ground
    assert image.pixelColor(where.center()) != ground


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_whole_receipt_can_be_scanned(orientation: str, draw) -> None:
    import cv2

    answer = Answer(Result.APPROVED, approval="A1B2C3", rrn="123456789012")
    state = next(scene.showing.state for scene in SCENES if scene.name == "approved")
    receipt = for_qr(
        Receipt.of(
            state.order,
            state.ref,
            answer,
            terminal_id="T-1",
            mode="demo",
            when=datetime(2026, 11, 25, 1, tzinfo=UTC),
            masked_payer="*明",
            provider=SHOP.provider,
            licence=SHOP.licence,
        )
    )
    scene = next(scene for scene in SCENES if scene.name == "approved-qr")
    shown = draw(Picture(scene, "en", orientation, "dark"))
    shown.bridge.show(state, receipt=ReceiptStatus.QR, qr=receipt)
    QCoreApplication.processEvents()
    image = shown.window.grabWindow().convertToFormat(QImage.Format.Format_Grayscale8)
    grey = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(np.ascontiguousarray(grey[:, : image.width()]))
    assert read == receipt


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_right_to_left_language_mirrors_the_page(
    orientation: str, draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiosk.ui.bridge.view", lambda *given: replace(view(*given), mirrored=True))
    confirm = next(scene for scene in SCENES if scene.name == "confirm")
    shown = draw(Picture(confirm, "en", orientation, "light"), scale=0.5)
    label, value = (
        next(place(text) for text in shown.texts() if text.property("text") == said)
        for said in ("From", "*明")
    )
    assert label.left() > value.right()
    assert all(QRectF(0, 0, 960, 960).contains(place(target)) for target in shown.targets())


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(("name", "colour"), [("flash-red", "#ff2828"), ("flash-black", "#000000")])
def test_a_flash_lights_the_whole_screen_around_what_must_be_read(
    orientation: str, name: str, colour: str, draw
) -> None:
    scene = next(scene for scene in SCENES if scene.name == name)
    shown = draw(Picture(scene, "en", orientation, "light"), scale=0.5)
    image = shown.window.grabWindow()
    banner, width, height = round(90 * shown.u), image.width(), image.height()
    edges = [(2, banner), (width - 3, banner), (2, height // 2), (width - 3, height - round(130 * shown.u))]
    assert {image.pixelColor(x, y).name() for x, y in edges} == {colour}
    lit = luminance(image)
    ground = lit[banner, 2]
    assert (abs(lit - ground) < 0.02).mean() > 0.4


def test_the_window_itself_says_when_a_request_is_on_the_screen(qapp: QGuiApplication, qtbot) -> None:
    told: list[tuple[object, int]] = []
    bridge = Bridge(SHOP, lambda _: None, clock=lambda: NOW, reduced_motion=True)
    bridge.on_shown = lambda challenge, index, at_ns: told.append((challenge, index))
    window = stage(bridge)
    window.resize(540, 960)
    window.show()
    QCoreApplication.processEvents()
    assert told == []
    state = next(scene for scene in SCENES if scene.name == "challenge-left").showing.state
    bridge.show(state)
    qtbot.waitUntil(lambda: bool(told), timeout=3_000)
    assert told == [(state.challenge, 0)]
    unload(window)


def test_a_second_request_is_a_page_of_its_own_whose_head_starts_anew(qapp: QGuiApplication, draw) -> None:
    left = next(scene for scene in SCENES if scene.name == "challenge-left")
    shown = draw(Picture(left, "en", "portrait", "light"), scale=0.5)

    def head() -> QQuickItem:
        return next(item for item in shown.items() if item.property("blinks") is not None)

    before, state = head(), left.showing.state
    shown.bridge.show_look(Look(Hint.CLOSER, 0.5))
    QCoreApplication.processEvents()
    assert head() is before, "a hint changes words only"
    shown.bridge.show(replace(state, challenge=Challenge(ChallengeKind.BLINK), number=2))
    QCoreApplication.processEvents()
    assert head() is not before
    assert head().property("blinks")


def test_a_new_screen_fades_in_and_the_old_one_goes(qapp: QGuiApplication, qtbot) -> None:
    bridge = Bridge(SHOP, lambda _: None, clock=lambda: NOW)
    window = stage(bridge)
    window.resize(540, 960)
    window.show()
    for name in ("offer", "look", "confirm"):  # faster than a fade lasts
        bridge.show(next(scene for scene in SCENES if scene.name == name).showing.state)
        QCoreApplication.processEvents()

    def titles() -> set[str]:
        said = {item.property("text") for item in walk(window.contentItem()) if item.inherits("QQuickText")}
        return said & {"To pay", "Look into the circle", "Is this right?"}

    qtbot.waitUntil(lambda: titles() == {"Is this right?"}, timeout=3_000)
    unload(window)


@pytest.mark.parametrize("theme", PAPER)
def test_a_turned_panel_shows_the_same_screen_turned(theme: str, qapp: QGuiApplication) -> None:
    picture = Picture(SCENES[0], "en", "portrait", theme)
    bridge = bridge_for(picture)
    window = stage(bridge, "portrait")
    window.resize(960, 540)
    window.show()
    QCoreApplication.processEvents()
    shown = Shown(window, picture, bridge)
    first = next(text for text in shown.texts() if text.property("text") == "Pay with a look")
    assert place(first).width() < 0  # its line runs down the panel
    assert all(
        min(target.width(), target.height()) >= LEAST_TARGET_PX * shown.u for target in shown.targets()
    )
    unload(window)


def test_every_qml_file_is_used() -> None:
    sources = {file.stem: file.read_text("utf-8") for file in QML.glob("*.qml")}
    views = (QML.parent / "view.py").read_text("utf-8") + (QML.parent / "window.py").read_text("utf-8")
    for name in sources:
        elsewhere = views + "".join(text for other, text in sources.items() if other != name)
        assert re.search(rf"\b{name}\b", elsewhere), name


def test_the_qml_folder_is_where_the_package_is() -> None:
    assert QML.is_dir()
    assert Path(__file__).resolve().parent.name == "ui"
