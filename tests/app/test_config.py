"""The configuration file: complete defaults, one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kiosk.app import config
from kiosk.domain.errors import OperatorError
from kiosk.domain.offline import OfflineSetting

from ..permissions import of_somebody_else

ROOT = Path(__file__).resolve().parents[2]


def load(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "kiosk.toml"
    path.write_text(text)
    return config.load(path, tmp_path)


def test_without_a_file_the_kiosk_is_a_demo(tmp_path: Path) -> None:
    assert config.load(None, tmp_path).mode == "demo"


def test_the_file_in_the_data_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text('mode = "test"')
    assert config.load(None, tmp_path).mode == "test"


def test_the_example_that_ships_is_valid() -> None:
    assert config.load(ROOT / "deploy" / "kiosk.toml.example", ROOT).limits.layer().per_payment == 20000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('mode = "live"', ["mode = 'live'", "'demo', 'production', 'test', 'training'"]),
        (
            "[limits]\npin_above_minor = -1",
            ["limits.pin_above_minor = -1", "a whole number of minor units, 0 to"],
        ),
        ("[limits]\npin_above_minor = 2.5", ["limits.pin_above_minor = 2.5", "a whole number"]),
        ("[limits]\nper_week = 1", ["limits.per_week", "no such key"]),
        ('[store]\nterminal_id = "a b"', ["store.terminal_id = 'a b'", "1 to 35 letters, digits or . _ -"]),
        ('[store]\ncurrency = "yuan"', ["store.currency = 'yuan'", "three capital letters"]),
        ('[store]\npayee = ""', ["store.payee = ''", "1 to 70 characters"]),
        ("[store]\ntimezone = 8", ["store.timezone = 8", "text in quotes"]),
        ("[acquirer]\nanswer_timeout_s = 0", ["acquirer.answer_timeout_s = 0", "above 0, at most 120"]),
        ("[models]\ninterpreter_threads = 9", ["models.interpreter_threads = 9", "from 1 to 8"]),
        ('[models]\naccept_without_leave = "x"', ["models.accept_without_leave = 'x'", "a list of texts"]),
        ("[models]\naccept_without_leave = [3]", ["models.accept_without_leave = [3]", "a list of texts"]),
        ('[store]\ncurrency = "XXX"', ["store.currency = 'XXX'", "CNY"]),
        ('[store]\ntimezone = "Mars/Olympus"', ["store.timezone = 'Mars/Olympus'", "IANA"]),
        ('[camera]\npin = "imx708"', ["camera.pin = 'imx708'", "the line that kiosk doctor shows"]),
        ('[vision]\nchallenge = "never"', ["vision.challenge = 'never'", "'always', 'grey-zone'"]),
        ("[screen]\nlanguage = 3", ["screen.language = 3", "'en', 'zh-Hans'"]),
        ("[offline]\nenabled = 1", ["offline.enabled = 1", "true or false"]),
        ("[offline]\ncount = 10001", ["offline.count = 10001", "from 0 to 10000"]),
        ("[offline]\nage_s = -1", ["offline.age_s = -1", "whole number of seconds"]),
        ("store = 3", ["store = 3", "a table: [store]"]),
        ("mode = ", ["not valid TOML", "line 1"]),
    ],
)
def test_a_wrong_value_is_one_line_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, told: list[str]
) -> None:
    with pytest.raises(OperatorError) as caught:
        load(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line
    assert str(tmp_path / "kiosk.toml") in line
    for jargon in ("Expected", "null", "regex", "`"):
        assert jargon not in line
    for part in told:
        assert part in line


def test_a_missing_or_huge_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"nothing\.toml"):
        config.load(tmp_path / "nothing.toml", tmp_path)
    with pytest.raises(OperatorError, match="64 KiB"):
        load(tmp_path, "#" * 70_000)


def test_a_file_that_is_not_utf_8_is_told_where(tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_bytes('mode = "démo"'.encode("latin-1"))
    with pytest.raises(OperatorError, match="not UTF-8 at byte 9"):
        config.load(None, tmp_path)


def test_a_data_folder_of_somebody_else_is_told(tmp_path: Path) -> None:
    with of_somebody_else(tmp_path), pytest.raises(OperatorError, match=r"kiosk\.toml.*denied.*owner"):
        config.load(None, tmp_path)


def test_nothing_is_sold_offline_unless_the_shop_says_so(tmp_path: Path) -> None:
    assert config.Config().offline.setting() == OfflineSetting(enabled=False)
    (tmp_path / "kiosk.toml").write_text(
        "[offline]\nenabled = true\nper_payment_minor = 1\ncount = 2\ntotal_minor = 3\nage_s = 4\n"
    )
    assert config.load(None, tmp_path).offline.setting() == OfflineSetting(True, 1, 2, 3, 4)


def test_the_documentation_lists_every_key_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for table in msgspec.structs.fields(config.Config):
        value = getattr(config.Config(), table.name)
        if not isinstance(value, msgspec.Struct):
            assert f"| `{table.name}` |" in text
            continue
        for field in msgspec.structs.fields(value):
            assert f"| `{table.name}.{field.name}` |" in text


def test_the_data_folder_comes_from_the_environment_or_is_your_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("KIOSK_DATA_DIR", "STATE_DIRECTORY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert config.default_data_dir() == tmp_path / "facepay-kiosk"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/kiosk")
    assert config.default_data_dir() == Path("/var/lib/kiosk")
