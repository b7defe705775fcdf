"""What every test stands on: no screen, no network but this machine's own, no clock but the test's."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports Qt: pictures are drawn in memory, by the renderer that needs no graphics card.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_QUICK_BACKEND", "software")

import hypothesis
import pytest

hypothesis.settings.register_profile("kiosk", deadline=None, print_blob=True)
hypothesis.settings.load_profile("kiosk")


class NetworkBlockedError(AssertionError):
    """A test tried to leave this machine."""


def _is_here(address: Any) -> bool:
    """Loopback, or not an internet address at all (Unix sockets)."""
    if not isinstance(address, tuple):
        return True
    if address[0] in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(str(address[0]).split("%")[0]).is_loopback
    except ValueError:
        return False  # a name would have to be looked up first


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def checked(original: Any) -> Any:
        def call(self: socket.socket, address: Any) -> Any:
            if not _is_here(address):
                raise NetworkBlockedError(f"a test wanted to reach {address}")
            return original(self, address)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", checked(connect))
        patch.setattr(socket.socket, "connect_ex", checked(connect_ex))
        yield


@pytest.fixture(autouse=True, scope="session")
def _home_is_not_touched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a command writes without `--data-dir` lands in a folder of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIOSK_DATA_DIR", str(tmp_path_factory.mktemp("kiosk-data")))
        yield


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A kiosk's data directory that nobody has used; it does not exist yet."""
    return tmp_path / "data"


class VirtualClock:
    """`kiosk.domain.ports.Clock` that moves only when told: waiting costs no time in a test."""

    def __init__(self, utc_s: float = 1_795_564_800.0) -> None:  # 2026-11-25 00:00 UTC
        self._monotonic_ms = 1_000
        self._utc_s = utc_s

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def utc_s(self) -> float:
        return self._utc_s

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass, on both clocks."""
        self._monotonic_ms += ms
        self._utc_s += ms / 1000


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def eval_data() -> Path:
    """The evaluation data's folder. Unset: the test says that it was left out. Set and missing: it fails."""
    folder = os.environ.get("KIOSK_EVAL_DATA")
    if not folder:
        pytest.skip("KIOSK_EVAL_DATA is not set: what needs evaluation data is left out")
    path = Path(folder)
    assert path.is_dir(), f"KIOSK_EVAL_DATA={folder} is not a folder"
    return path
