"""The window: it says when it is on the screen and ends when asked; the command that draws it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication, QImage
from typer import Typer
from typer.testing import CliRunner

from kiosk.cli.screenshot import screenshot
from kiosk.domain.errors import OperatorError
from kiosk.ui import window
from kiosk.ui.bridge import Bridge
from kiosk.ui.screenshot import SHOP
from kiosk.ui.window import run_window


@pytest.fixture
def bridge(qapp: QGuiApplication) -> Bridge:
    return Bridge(SHOP, lambda _: None, reduced_motion=True)


def test_the_window_says_when_it_is_there_and_ends_when_asked(qapp: QGuiApplication, bridge: Bridge) -> None:
    seen: list[str] = []

    def ready() -> None:
        seen.append(bridge.current.screen)
        bridge.quit()

    assert run_window(qapp, bridge, fullscreen=False, on_ready=ready) == 0
    assert seen == ["idle"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_window_and_the_old_handlers_are_back(
    qapp: QGuiApplication, bridge: Bridge, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    QTimer.singleShot(0, lambda: os.kill(os.getpid(), number))
    assert run_window(qapp, bridge, fullscreen=True, orientation="portrait") == 0
    assert signal.getsignal(number) is before


def test_missing_fonts_are_the_operators_business(
    qapp: QGuiApplication, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(window, "fonts_dir", lambda: tmp_path)
    with pytest.raises(OperatorError, match=r"there are no fonts.*Install"):
        window._load_fonts()
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    with pytest.raises(OperatorError, match=r"can't be read"):
        window._load_fonts()


@pytest.fixture
def command() -> Typer:
    app = Typer()
    app.command()(screenshot)
    return app


def test_the_command_draws_one_screen_in_every_language_orientation_and_theme(
    command: Typer, qapp: QGuiApplication, tmp_path: Path
) -> None:
    result = CliRunner().invoke(command, ["--only", "working", "--to", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    files = sorted((tmp_path / "new").glob("*.png"))
    assert len(files) == 2 * 2 * 2
    sizes = {(QImage(str(file)).width(), QImage(str(file)).height()) for file in files}
    assert sizes == {(1080, 1920), (1920, 1080)}


@pytest.mark.parametrize(
    ("arguments", "says"), [([], "Give --all DIR"), (["--only", "nonsense"], "There are: idle")]
)
def test_a_wrong_use_of_the_command_is_one_clear_line(
    command: Typer, qapp: QGuiApplication, arguments: list[str], says: str
) -> None:
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, OperatorError)
    assert says in str(result.exception)


def test_a_folder_that_cannot_be_made_is_one_clear_line(
    command: Typer, qapp: QGuiApplication, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(command, ["--only", "idle", "--to", str(tmp_path / "file" / "below")])
    assert isinstance(result.exception, OperatorError)
    assert "can't be written" in str(result.exception)
