"""The other commands: enrolment, deletion, self-test, the demo, the kiosk itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.cli.processes import command
from kiosk.sandbox.recapture import as_screen

from ..sandbox.conftest import Running
from .conftest import DEMO, PAYER, Kiosk

OFFSCREEN = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QT_QUICK_BACKEND": "software"}


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_who_is_enrolled_can_be_forgotten_and_is_then_nowhere_on_disk(kiosk: Kiosk, data_dir: Path) -> None:
    ran = kiosk(
        *("enrol", "--camera", DEMO / "enrol" / PAYER, "--payer", PAYER, "--name", "王小明"),
        *("--account", "6222020200112233", "--digits", "4821", "--data-dir", data_dir),
    )
    assert ran.code == 0, ran.err
    assert ran.out == f"enrolled {PAYER} from 1 look; 1 enrolled here\n"
    kept = stored(data_dir)
    for secret in (PAYER.encode(), "王".encode(), b"4821", b"6222020200112233"):
        assert secret not in kept, "the gallery is sealed"
    assert kiosk("forget", "--payer", PAYER, "--data-dir", data_dir).code == 0
    again = kiosk("forget", "--payer", PAYER, "--data-dir", data_dir)
    assert again.code == 2
    assert "nobody is enrolled" in again.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--payer", "two words"], "payer token"),
        (["--payer", "tok", "--digits", "12"], "--digits"),
        (["--payer", "tok", "--limit-per-day", "a lot"], "--limit-per-day"),
        (["--payer", "tok", "--limit-per-payment", "1.005"], "--limit-per-payment"),
        (["--payer", "tok", "--digits", "१२३४"], "--digits"),
    ],
)
def test_enrolment_refuses_wrong_input_in_one_line(
    kiosk: Kiosk, data_dir: Path, arguments: list[str], told: str
) -> None:
    ran = kiosk("enrol", "--camera", DEMO / "enrol" / PAYER, *arguments, "--data-dir", data_dir)
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_nobody_is_enrolled_from_a_screen(kiosk: Kiosk, data_dir: Path, tmp_path: Path) -> None:
    picture = cv2.cvtColor(cv2.imread(str(DEMO / "probe" / f"{PAYER}.jpg")), cv2.COLOR_BGR2RGB)
    attack = cv2.cvtColor(as_screen(np.asarray(picture, np.uint8), 17), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(tmp_path / "attack.png"), attack)
    ran = kiosk("enrol", "--camera", tmp_path / "attack.png", "--payer", "tok", "--data-dir", data_dir)
    assert ran.code == 12
    assert not (data_dir / "gallery").exists()


def test_no_face_and_two_people_are_not_enrolled(kiosk: Kiosk, data_dir: Path, tmp_path: Path) -> None:
    picture = cv2.imread(str(DEMO / "probe" / "stranger.jpg"))
    for name, scene in (
        ("wall", np.full((480, 640, 3), 90, np.uint8)),
        ("two", np.hstack([picture, picture])),
    ):
        cv2.imwrite(str(tmp_path / f"{name}.png"), scene)
        ran = kiosk("enrol", "--camera", tmp_path / f"{name}.png", "--payer", "t", "--data-dir", data_dir)
        assert ran.code == 13, name
        assert ran.err.count("\n") == 1


def test_a_picture_with_a_bystander_is_passed_over_where_there_is_another(
    kiosk: Kiosk, data_dir: Path, tmp_path: Path
) -> None:
    picture = cv2.imread(str(DEMO / "probe" / "stranger.jpg"))
    (tmp_path / "folder").mkdir()
    cv2.imwrite(str(tmp_path / "folder" / "1.png"), np.hstack([picture, picture]))
    cv2.imwrite(str(tmp_path / "folder" / "2.png"), picture)
    ran = kiosk("enrol", "--camera", tmp_path / "folder", "--payer", "t", "--data-dir", data_dir)
    assert (ran.code, ran.out) == (0, "enrolled t from 1 look; 1 enrolled here\n")


def test_pictures_of_different_people_are_not_one_person(
    kiosk: Kiosk, data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "mixed").mkdir()
    for number, path in enumerate((DEMO / "probe" / f"{PAYER}.jpg", DEMO / "probe" / "stranger.jpg")):
        (tmp_path / "mixed" / f"{number}.jpg").write_bytes(path.read_bytes())
    ran = kiosk("enrol", "--camera", tmp_path / "mixed", "--payer", "t", "--data-dir", data_dir)
    assert ran.code == 13


def test_the_doctor_says_what_to_do(kiosk: Kiosk, shop: Running) -> None:
    ran = kiosk("doctor", "--json", "--camera", DEMO / "probe" / "stranger.jpg", "--data-dir", shop.folder)
    report = json.loads(ran.out)
    found = {check["name"]: check for check in report["checks"]}
    assert ran.code == 0, found
    for name in ("models", "camera", "gallery", "policy", "acquirer", "journal", "screen", "disk", "clock"):
        assert found[name]["status"] == "green", found[name]
    assert found["key"]["status"] == "amber"
    assert all(check["action"] for check in report["checks"] if check["status"] != "green")


def test_a_kiosk_that_is_not_set_up_is_red_and_the_doctor_still_ends(kiosk: Kiosk, data_dir: Path) -> None:
    ran = kiosk("doctor", "--json", "--camera", "/dev/video99", "--data-dir", data_dir)
    found = {check["name"]: check["status"] for check in json.loads(ran.out)["checks"]}
    assert ran.code == 1
    assert found["acquirer"] == "red"
    assert found["camera"] == found["gallery"] == "amber"


def test_the_demo_pays_once_and_refuses_a_stranger_and_two_attacks() -> None:
    ran = subprocess.run(
        command("demo", "--headless"), capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert [line for line in lines if line.startswith("APPROVED ¥ 38.50")]
    assert sum("refused: not recognised" in line for line in lines) == 1
    assert sum("refused: attack suspected" in line for line in lines) == 2
    assert sum("another way: handed to staff" in line for line in lines) == 1
    assert any("debited      3850" in line for line in lines)
    assert ran.stderr == ""


def test_the_kiosk_comes_up_and_goes_down_when_told(shop: Running) -> None:
    process = subprocess.Popen(
        command("run", "--windowed", "--amount", "12.00", "--data-dir", shop.folder),
        env=OFFSCREEN,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "kiosk ready\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_two_kiosks_share_neither_a_data_folder_nor_a_till_s_port(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    key, config = tmp_path / "till.key", tmp_path / "till.toml"
    assert kiosk("till", "key", "--out", key, "--data-dir", shop.folder).code == 0
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config.write_text(f'[till]\nlink = "tcp"\nport = {port}\nkey_file = "{key}"\n')
    run = ("run", "--windowed", "--config", config)
    process = subprocess.Popen(
        command(*run, "--data-dir", shop.folder),
        env=OFFSCREEN,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "kiosk ready\n"
        probe = DEMO / "probe" / f"{PAYER}.jpg"
        ran = kiosk("pay", "--camera", probe, "--amount", "1.00", "--data-dir", shop.folder)
        assert ran.code == 2
        assert "another kiosk is running" in ran.err
        other = shutil.copytree(shop.folder, tmp_path / "other", ignore=shutil.ignore_patterns("journal*"))
        for folder, told in (
            (shop.folder, f"{shop.folder}: another kiosk is running on this data folder. Stop it"),
            (
                other,
                f"port {port}: another program listens there already, perhaps another kiosk",
            ),
        ):
            second = subprocess.run(
                command(*run, "--data-dir", folder),
                check=False,
                env=OFFSCREEN,
                capture_output=True,
                text=True,
            )
            assert (second.returncode, second.stdout) == (2, "")
            assert told in second.stderr
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["pay", "--help"], ["sandbox", "--help"], ["eval", "--help"]]
)
def test_help_and_version_need_no_kiosk(kiosk: Kiosk, arguments: list[str]) -> None:
    ran = kiosk(*arguments)
    assert ran.code == 0
    assert ran.out


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["pay"], ["pay", "--camera"], ["enrol", "--colour", "x"]]
)
def test_wrong_use_is_one_line(kiosk: Kiosk, arguments: list[str]) -> None:
    ran = kiosk(*arguments)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "Try --help" in ran.err


def test_wrong_use_with_json_is_an_object_too(kiosk: Kiosk, data_dir: Path) -> None:
    ran = kiosk("pay", "--camera", "nope", "--amount", "0", "--json", "--data-dir", data_dir)
    assert ran.code == 2
    assert json.loads(ran.out)["exit_code"] == 2
    assert json.loads(ran.out)["error"] in ran.err


def test_without_a_display_the_kiosk_says_so(
    kiosk: Kiosk, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    ran = kiosk("run", "--data-dir", data_dir)
    assert ran.code == 2
    assert "no display" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("consent", ["", "x" * 200, "a b"])
def test_a_consent_reference_that_can_t_be_kept_is_wrong_use(
    kiosk: Kiosk, data_dir: Path, consent: str
) -> None:
    arguments = ("--payer", "tok", "--consent", consent, "--data-dir", data_dir)
    ran = kiosk("enrol", "--camera", DEMO / "enrol" / PAYER, *arguments)
    assert ran.code == 2
    assert "--consent" in ran.err
