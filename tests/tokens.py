"""A SoftHSM2 token for a test: real PKCS#11 calls, nothing outside the test's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kiosk.devices.key_token import TokenRing
from kiosk.devices.token import PinFile, Token, load_module

MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so"),
    *Path("/usr/lib").glob("*/pkcs11/libsofthsm2.so"),
)
PIN = "4711-secret"
SO_PIN = "0815-secret"


def softhsm() -> Path:
    """The module's path. Where SoftHSM2 can't be had the test says so; `make setup` brings it on Debian."""
    found = next((path for path in MODULES if path.exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        if shutil.which("dpkg-query") is not None:
            pytest.fail("SoftHSM2 is missing: run `make setup` (or: apt-get install softhsm2)")
        pytest.skip("SoftHSM2 is not installed and this is no Debian: token tests are left out")
    return found


@dataclass(frozen=True)
class SoftToken:
    """One token, alone in its folder."""

    module: Path
    folder: Path
    label: str = "kiosk"

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    @property
    def store(self) -> Path:
        return self.folder / "tokens"

    def token(self) -> Token:
        module = str(self.module)
        return Token(lambda: load_module(module), self.label, lambda: PinFile.find(str(self.pin_file)))

    def ring(self, data_dir: Path) -> TokenRing:
        data_dir.mkdir(exist_ok=True)
        return TokenRing(data_dir, self.token())

    def config(self, path: Path, **more: str) -> Path:
        """A kiosk.toml whose key is on this token."""
        keys = {"store": "token", "module": self.module, "token_label": self.label, "pin_file": self.pin_file}
        lines = [f'{name} = "{value}"' for name, value in (keys | more).items()]
        path.write_text("\n".join(["[key]", *lines, ""]))
        return path

    def take_away(self) -> None:
        self.store.rename(self.folder / "away")

    def put_back(self) -> None:
        (self.folder / "away").rename(self.store)


@contextmanager
def soft_token() -> Iterator[SoftToken]:
    """A new token; the module of this process is at it until the end."""
    module = softhsm()
    with tempfile.TemporaryDirectory(prefix="softhsm-") as name, pytest.MonkeyPatch.context() as patch:
        made = SoftToken(module, Path(name))
        made.store.mkdir()
        conf = made.folder / "softhsm2.conf"
        conf.write_text(
            f"directories.tokendir = {made.store}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        patch.setenv("SOFTHSM2_CONF", str(conf))
        command = ["softhsm2-util", "--init-token", "--free", "--label", made.label]
        subprocess.run(
            [*command, "--pin", PIN, "--so-pin", SO_PIN], check=True, capture_output=True, env=os.environ
        )
        made.pin_file.write_text(PIN + "\n")
        made.pin_file.chmod(0o600)
        loaded = load_module(str(module))
        loaded.reset()  # reads the new configuration
        yield made
        loaded.sessions.clear()
        loaded.objects.clear()
        loaded.library.finalize()
