"""The kiosk's camera as the configuration means it: which source, which pin, the guard around it.

`Cameras.open_source` is the only way in: no look reads an unguarded source. What was refused is counted in
the data folder, for staff and for `kiosk doctor`: the check's name and how often, nothing of what was seen.

    data folder:  camera.pin  (written by provisioning)   camera-refusals.json
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from kiosk.app.config import Config
from kiosk.devices.cameras import open_source
from kiosk.devices.guard import Check, GuardedSource, GuardMemory
from kiosk.domain.errors import OperatorError

__all__ = ["PIN_NAME", "REFUSALS_NAME", "Cameras", "Refusals"]

PIN_NAME: Final = "camera.pin"
REFUSALS_NAME: Final = "camera-refusals.json"
_MAX_BYTES: Final = 4096


class Refusals:
    """How often each check refused a camera, kept in a file of the data folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def counts(self) -> Mapping[str, int]:
        """By the checks' names. A file that is missing or damaged counts nothing."""
        try:
            found = msgspec.json.decode(self._path.read_bytes()[:_MAX_BYTES], type=dict[str, int])
        except (OSError, msgspec.DecodeError):
            return {}
        return {str(check): found[check] for check in Check if found.get(check, 0) > 0}

    def add(self, check: Check) -> None:
        """One more. The refusal stands also where it can't be written down (a full disk)."""
        with self._lock:
            counts = {**self.counts()}
            counts[str(check)] = counts.get(str(check), 0) + 1
            fresh = self._path.with_suffix(".new")
            try:
                fresh.write_bytes(msgspec.json.encode(counts))
                fresh.replace(self._path)
            except OSError:
                return


class Cameras:
    """Every source that this kiosk opens, guarded; `memory` of what was seen goes from look to look."""

    def __init__(self, config: Config, data_dir: Path) -> None:
        self._config, self._data_dir = config, data_dir
        self._memory = GuardMemory()
        self.refusals = Refusals(data_dir / REFUSALS_NAME)

    @property
    def pin(self) -> str:
        """The pinned camera's identity; empty when none is set. The configuration goes before the file.

        OperatorError when the file can't be read: a pin that is there is never passed over.
        """
        if self._config.camera.pin:
            return self._config.camera.pin
        path = self._data_dir / PIN_NAME
        try:
            return path.read_bytes()[:_MAX_BYTES].decode().strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(
                f"the camera's pin can't be read ({type(error).__name__})",
                where=str(path),
                do="Run as the data folder's owner, or set camera.pin in the configuration.",
            ) from None

    def open_source(self, text: str) -> GuardedSource:
        """The source that `text` names (`devices.cameras.open_source`), guarded and not yet opened."""
        return GuardedSource(
            open_source(text),
            pin=self.pin,
            mode=self._config.mode,
            memory=self._memory,
            on_refusal=self.refusals.add,
        )

    @contextmanager
    def opened(self, text: str) -> Iterator[GuardedSource]:
        """An open, guarded source; closed, light off, when the block ends."""
        source = self.open_source(text)
        source.open()
        try:
            yield source
        finally:
            source.close()
