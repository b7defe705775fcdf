"""A sync that is killed at any moment: the old gallery, or the old one less who withdrew, or the new one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kiosk.gallery.epoch import Epoch
from tests.gallery.hosted import REGION, Hosted
from tests.gallery.test_follow import EPOCH, Kiosk, enrolled, publish
from tests.gallery.test_store import killed_at

RENEWED = Epoch(REGION, 2, b"f" * 32)
OLD = {one.token for one in enrolled(8)}
NEW = {one.token for one in (*enrolled(6)[1:], *enrolled(3, 2, 20))}


@pytest.fixture
def before(tmp_path: Path, clock: Any) -> Kiosk:
    """A kiosk with eight people; t00000 withdraws, the gallery is published anew in another epoch."""
    clock.advance(int(1000 * (time.time() - clock.utc_s())))
    hosted = Hosted()
    publish(hosted, {0: enrolled(6), 1: enrolled(8)[6:]})
    kiosk = Kiosk(hosted, tmp_path / "before", clock)
    kiosk.folder.mkdir()
    kiosk.round()
    for path in list(hosted.delegated["gallery"].targets):
        del hosted.delegated["gallery"].targets[path]
    hosted.tombstones(2, ["t00000"])
    hosted.publish("tombstones")
    kiosk.epochs = (RENEWED, EPOCH)
    publish(hosted, {0: enrolled(6)[1:], 2: enrolled(3, 2, 20)}, epoch=RENEWED)
    return kiosk


def copied(before: Kiosk, folder: Path) -> Kiosk:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before.folder, folder, symlinks=True)
    kiosk = Kiosk(before.hosted, folder, before.clock)
    kiosk.epochs = before.epochs
    return kiosk


def check(kiosk: Kiosk) -> set[str]:
    """What a start finds after it, and that the next round brings the new gallery; what was found."""
    kiosk.start()
    kiosk.store.tidy()
    loaded = kiosk.store.load()
    assert loaded.warning is None
    found = {one.token for one in loaded.gallery.records()}
    assert found in (OLD, OLD - {"t00000"}, NEW)
    assert loaded.gallery.epoch is not None
    assert loaded.gallery.epoch.id == (RENEWED.id if found == NEW else EPOCH.id)
    kiosk.round()
    assert kiosk.tokens() == NEW
    assert kiosk.store.verify() == ()
    assert not list((kiosk.folder / "repository" / "segments").iterdir())
    return found


@pytest.mark.parametrize("step", [*range(0, 80, 5), 1_000])
def test_a_kill_at_a_step_leaves_one_of_them(
    before: Kiosk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    kiosk = copied(before, tmp_path / "after")

    done = killed_at(step, monkeypatch, kiosk.round)

    assert done == (step == 1_000)
    found = check(kiosk)
    assert not done or found == NEW


@pytest.mark.timeout(100)
def test_a_process_that_is_killed_at_a_moment_leaves_one_of_them(before: Kiosk, tmp_path: Path) -> None:
    chance, seen = random.Random(7), []
    started = time.monotonic()
    copied(before, tmp_path / "after").round()
    took = time.monotonic() - started
    for _ in range(12):
        kiosk = copied(before, tmp_path / "after")
        child = os.fork()
        if not child:
            kiosk.round()
            os._exit(0)
        time.sleep(chance.uniform(0, took))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.append(check(kiosk))
    assert seen
