"""The commands as people run them, against a sandbox in a process of its own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kiosk.cli import main as cli

from ..sandbox.conftest import Running, running

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"
PAYER = "pyr-7f3k9q2m"


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Kiosk = Callable[..., Ran]


@pytest.fixture
def kiosk(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Kiosk:
    """`kiosk ARGS...` in this process."""

    def run(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["kiosk", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        return Ran(int(stop.value.code or 0), out, err)

    return run


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own are for one user only, up to the top."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox and a kiosk that share a data folder, with one payer enrolled from two photographs."""
    folder = tmp_path_factory.mktemp("shop")
    with running(folder) as sandbox:
        enrol = ["enrol", "--camera", str(DEMO / "enrol" / PAYER), "--payer", PAYER, "--digits", "4821"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["kiosk", *enrol, "--data-dir", str(folder)])
            with pytest.raises(SystemExit) as stop:
                cli.main()
        assert not stop.value.code
        yield sandbox
