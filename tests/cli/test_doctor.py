"""`kiosk doctor`: what a technician is told about a kiosk that is not as it should be."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kiosk.acquirer.journal import Journal
from kiosk.app import health
from kiosk.app.camera import Refusals
from kiosk.cli.processes import command
from kiosk.devices.guard import Check
from kiosk.frames import SourceInfo, SourceKind
from kiosk.ui import window
from kiosk.vision.models import load_manifest

from ..devices import fake_picamera2
from ..permissions import of_somebody_else
from ..sandbox.conftest import Running, running
from ..sandbox.test_publishing import until
from .conftest import DEMO, Kiosk

Found = dict[str, dict[str, str]]
STILL = DEMO / "probe" / "stranger.jpg"
UNCLEAR = [card.id for card in load_manifest().models if card.commercial != "yes"]


@pytest.fixture(scope="module")
def acquirer(tmp_path_factory: pytest.TempPathFactory) -> Running:
    with running(tmp_path_factory.mktemp("acquirer")) as sandbox:
        yield sandbox


def examined(kiosk: Kiosk, folder: Path, settings: str = "", camera: str | Path = STILL) -> Found:
    """What the doctor found, by name. Whatever is not green says what to do."""
    path = folder / "doctor.toml"
    if settings:
        path.write_text(settings)
    ran = kiosk("doctor", "--json", "--camera", camera, "--data-dir", folder, *config_of(path))
    found = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert ran.err == ""
    assert ran.code == int(any(check["status"] == "red" for check in found.values()))
    for check in found.values():
        assert (check["action"] == "") is (check["status"] == "green"), check
    path.unlink(missing_ok=True)
    return found


def config_of(path: Path) -> list[str]:
    return ["--config", str(path)] if path.exists() else []


def test_a_shop_in_another_currency_than_the_policy_is_red(kiosk: Kiosk, acquirer: Running) -> None:
    policy = examined(kiosk, acquirer.folder, '[store]\ncurrency = "EUR"')["policy"]
    assert policy["status"] == "red"
    assert "CNY" in policy["detail"]
    assert "store.currency" in policy["action"]


def test_a_limit_above_the_acquirers_is_capped_and_said(kiosk: Kiosk, acquirer: Running) -> None:
    found = examined(kiosk, acquirer.folder, "[limits]\nper_payment_minor = 100001\npin_above_minor = 50000")
    assert found["policy"]["status"] == "amber"
    assert (
        "limits.per_payment_minor = 100001 is capped by the acquirer at 100000" in found["policy"]["detail"]
    )
    assert "pin_above" not in found["policy"]["detail"]


def test_the_acquirer_is_told_how_each_check_ended_and_no_more(kiosk: Kiosk, acquirer: Running) -> None:
    doctor = ("doctor", "--report", "--json", "--camera", STILL, "--data-dir", acquirer.folder)
    ran = kiosk(*doctor)
    told = json.loads(ran.out)
    assert (told["reported"], ran.err) == (True, "")
    with sqlite3.connect(acquirer.folder / "sandbox" / "ledger.sqlite") as db:
        ((body,),) = db.execute("SELECT body FROM telemetry").fetchall()
    db.close()
    heard = json.loads(body)
    states = {"green": "ok", "amber": "warning", "red": "failed"}
    assert heard["checks"] == {check["name"]: states[check["status"]] for check in told["checks"]}
    assert heard["counters"] == {"enrolled": 0, "open_attempts": 0, "open_tasks": 0}
    with Journal(acquirer.folder / "journal.sqlite"):
        busy = kiosk(*doctor)
    assert (json.loads(busy.out)["reported"], "did not hear it" in busy.err) == (False, True)


def test_a_kiosk_that_is_behind_with_the_gallery_is_told_to_sync(kiosk: Kiosk, acquirer: Running) -> None:
    folder = acquirer.folder
    doctor = ("doctor", "--report", "--json", "--camera", STILL, "--data-dir", folder)

    def sync() -> None:
        subprocess.run(command("gallery", "sync", "--data-dir", folder), check=True)

    assert kiosk("sandbox", "people", "--synthetic", "2", "--data-dir", folder).code == 0
    assert kiosk("sandbox", "repository", "publish", "--data-dir", folder).code == 0
    sync()
    assert "kiosk gallery sync" not in kiosk(*doctor).err
    assert kiosk("sandbox", "repository", "renew-epoch", "--data-dir", folder).code == 0
    until(lambda: "run `kiosk gallery sync`" in kiosk(*doctor).err)  # once the sandbox has seen it
    sync()
    assert "kiosk gallery sync" not in kiosk(*doctor).err


@pytest.mark.skipif(not UNCLEAR, reason="every shipped model may be sold")
def test_production_with_models_nobody_cleared_is_red_by_id_and_key(kiosk: Kiosk, data_dir: Path) -> None:
    data_dir.mkdir()
    production = 'mode = "production"\n[models]\naccept_without_leave = '
    terms = examined(kiosk, data_dir, production + json.dumps(UNCLEAR[1:]))["model_terms"]
    assert (terms["status"], terms["detail"]) == (
        "red",
        f"no clear leave to sell, or added here: {UNCLEAR[0]}",
    )
    assert "models.accept_without_leave" in terms["action"]
    assert examined(kiosk, data_dir, production + json.dumps(UNCLEAR))["model_terms"]["status"] == "green"


@pytest.mark.parametrize("damage", ["list", "folder in its place"])
def test_a_damaged_list_of_added_networks_is_one_red_line_beside_all_other_checks(
    kiosk: Kiosk, data_dir: Path, damage: str
) -> None:
    data_dir.mkdir()
    names = set(examined(kiosk, data_dir))
    path = data_dir / "models" / "manifest.json"
    path.parent.mkdir()
    if damage == "list":
        path.write_text("{")
    else:
        path.mkdir()
    found = examined(kiosk, data_dir)
    assert set(found) == names
    assert found["models"]["status"] == "red"
    assert str(path) in found["models"]["detail"]
    assert "kiosk models rollback --release" in found["models"]["action"]
    assert found["model_terms"]["status"] == "amber"
    assert found["disk"]["status"] == "green"


def test_a_journal_that_lacks_entries_is_red_and_says_what_to_do(kiosk: Kiosk, data_dir: Path) -> None:
    with Journal(data_dir / "journal.sqlite") as opened:
        opened.halt("sequence_reused")
    journal = examined(kiosk, data_dir)["journal"]
    with Journal(data_dir / "journal.sqlite") as opened:
        opened.resume()
    assert (journal["status"], journal["action"]) == ("red", "Run `kiosk journal recover`.")
    assert "sequence_reused" in journal["detail"]


def test_beside_a_running_kiosk_the_journal_is_in_use_not_broken(kiosk: Kiosk, data_dir: Path) -> None:
    with Journal(data_dir / "journal.sqlite"):
        journal = examined(kiosk, data_dir)["journal"]
    assert journal["status"] == "green"
    assert "in use by a running kiosk" in journal["detail"]


@pytest.mark.parametrize(("mode", "status"), [("demo", "amber"), ("test", "amber"), ("training", "red")])
def test_a_missing_camera_is_red_only_where_a_camera_is_needed(
    kiosk: Kiosk, data_dir: Path, mode: str, status: str
) -> None:
    data_dir.mkdir()
    camera = examined(kiosk, data_dir, f'mode = "{mode}"', "/dev/video99")["camera"]
    assert camera["status"] == status
    assert "/dev/video99" in camera["detail"]
    assert (f"--camera {STILL}" in camera["action"]) is (status == "amber")


PI = "pi:sensor=imx708;bus=/base/soc/i2c@1a"
OTHER_PI = "pi:sensor=imx219;bus=/base/soc/i2c@1a"


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A Raspberry Pi's camera whose last ten frames are there at once; what it says can be changed."""
    frames, changes = 10, {}
    first_ns = time.monotonic_ns()
    told = fake_picamera2.CompletedRequest.get_metadata

    def said(request: Any) -> dict[str, Any]:
        nonlocal first_ns
        if request.number == 0:
            first_ns = time.monotonic_ns() - frames * 33_333_000
        stamp = first_ns + request.number * 33_333_000
        return {**told(request), "SensorTimestamp": stamp, **changes}

    monkeypatch.setattr(fake_picamera2.CompletedRequest, "get_metadata", said)
    monkeypatch.setattr(health, "PROBE_FRAMES", frames)
    monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2)
    return changes


@pytest.mark.parametrize(
    ("mode", "pin", "status", "state"),
    [
        ("demo", "", "amber", "missing"),
        ("test", PI, "green", "ok"),
        ("production", PI, "green", "ok"),
        ("training", "", "red", "missing"),
        ("production", "", "red", "missing"),
        ("test", OTHER_PI, "red", "wrong"),
    ],
)
def test_the_camera_s_pin_is_told_and_how_to_set_it(
    kiosk: Kiosk, data_dir: Path, *, pi: Any, mode: str, pin: str, status: str, state: str
) -> None:
    data_dir.mkdir()
    found = examined(kiosk, data_dir, f'mode = "{mode}"\n[camera]\npin = "{pin}"', "pi")
    assert found["camera"]["status"] == "green"
    assert found["camera_pin"]["status"] == status
    assert found["camera_pin"]["detail"].startswith(f"{state}: this camera is {PI}")
    assert (f'pin = "{PI}"' in found["camera_pin"]["action"]) is (status != "green")
    assert ("pinned 'imx219'" in found["camera_pin"]["detail"]) is (state == "wrong")


@pytest.mark.parametrize(("mode", "status"), [("demo", "amber"), ("production", "red")])
def test_a_program_that_plays_a_camera_is_told_as_one(
    kiosk: Kiosk, data_dir: Path, pi: Any, monkeypatch: pytest.MonkeyPatch, *, mode: str, status: str
) -> None:
    played = ({"Num": 0, "Model": "Virtual", "Id": "Virtual0"},)
    monkeypatch.setattr(fake_picamera2.Picamera2, "cameras", played)
    data_dir.mkdir()
    camera = examined(kiosk, data_dir, f'mode = "{mode}"', "pi")["camera"]
    assert camera["status"] == status
    assert "Virtual0" in camera["detail"]


def test_a_camera_that_nothing_is_known_of_can_t_be_pinned(
    kiosk: Kiosk, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.mkdir()
    monkeypatch.setattr(health, "open_source", lambda _text: Nameless())
    found = examined(kiosk, data_dir, camera="/dev/video0")
    assert found["camera_pin"]["detail"].endswith("nothing tells who it is")
    assert "pin =" not in found["camera_pin"]["action"]
    found = examined(kiosk, data_dir, f'[camera]\npin = "{PI}"', "/dev/video0")
    assert found["camera_pin"]["status"] == "red"


class Nameless:
    """A camera of which the kernel tells nothing, and that gives nothing."""

    info, ended = SourceInfo("?", SourceKind.LIVE, "v4l2:/dev/video0"), False

    def open(self) -> None:
        pass

    def read(self, _timeout_s: float) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_pin_that_provisioning_wrote_counts(kiosk: Kiosk, data_dir: Path, pi: Any) -> None:
    data_dir.mkdir()
    (data_dir / "camera.pin").write_text(PI)
    assert examined(kiosk, data_dir, 'mode = "production"', "pi")["camera_pin"]["status"] == "green"


def test_of_a_picture_pin_and_guard_are_unavailable(kiosk: Kiosk, data_dir: Path) -> None:
    data_dir.mkdir()
    found = examined(kiosk, data_dir)
    assert found["camera_pin"]["detail"].startswith("unavailable")
    assert "passed: nothing" in found["camera_guard"]["detail"]


def test_the_guard_tells_what_it_checked_and_what_it_refused_before(
    kiosk: Kiosk, data_dir: Path, pi: Any
) -> None:
    data_dir.mkdir()
    guard = examined(kiosk, data_dir, camera="pi")["camera_guard"]
    assert guard["status"] == "green"
    assert "freshness" in guard["detail"].partition("unavailable")[0]
    assert "jitter" in guard["detail"].partition("unavailable")[2]
    Refusals(data_dir / "camera-refusals.json").add(Check.REPETITION)
    guard = examined(kiosk, data_dir, camera="pi")["camera_guard"]
    assert guard["status"] == "amber"
    assert guard["detail"].endswith("refused so far: repetition 1")


def test_a_camera_that_breaks_a_rule_is_red_with_the_rule(kiosk: Kiosk, data_dir: Path, pi: Any) -> None:
    data_dir.mkdir()
    pi["ExposureTime"] = 90_000
    guard = examined(kiosk, data_dir, camera="pi")["camera_guard"]
    assert guard["status"] == "red"
    assert guard["detail"].startswith("metadata: exposure_us is 90000")


def test_a_folder_that_may_not_be_written_says_what_to_do_on_every_line(
    kiosk: Kiosk, public_dir: Path
) -> None:
    examined(kiosk, public_dir)  # all that is imported late is imported by now
    with of_somebody_else(public_dir, 0o555):
        found = examined(kiosk, public_dir)
    assert found["disk"]["status"] == found["journal"]["status"] == "red"
    assert "owner" in found["disk"]["action"]
    assert "owner" in found["journal"]["action"]


def test_a_folder_that_may_not_be_read_is_one_line(kiosk: Kiosk, data_dir: Path) -> None:
    data_dir.mkdir()
    with of_somebody_else(data_dir):
        ran = kiosk("doctor", "--data-dir", data_dir)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "owner" in ran.err


def test_without_fonts_the_screen_is_red(
    kiosk: Kiosk, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "fonts_dir", lambda: tmp_path)
    screen = examined(kiosk, data_dir)["screen"]
    assert screen["status"] == "red"
    assert str(tmp_path) in screen["detail"]


def test_without_a_display_the_screen_is_amber(
    kiosk: Kiosk, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    screen = examined(kiosk, data_dir)["screen"]
    assert screen["status"] == "amber"
    assert "QT_QPA_PLATFORM" in screen["action"]
    monkeypatch.setenv("DISPLAY", ":0")
    assert examined(kiosk, data_dir)["screen"]["status"] == "green"
