"""The configuration file: complete defaults, one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kiosk.app import config
from kiosk.domain.errors import OperatorError

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
        ('mode = "live"', ["mode = 'live'", "'demo', 'test', 'training', 'production'"]),
        ("[limits]\npin_above_minor = -1", ["limits.pin_above_minor = -1", ">= 0"]),
        ("[limits]\npin_above_minor = 2.5", ["limits.pin_above_minor = 2.5", "int"]),
        ("[limits]\nper_week = 1", ["limits.per_week", "no such key"]),
        ('[store]\nterminal_id = "a b"', ["store.terminal_id = 'a b'"]),
        ('[store]\ncurrency = "XXX"', ["store.currency = 'XXX'", "CNY"]),
        ('[store]\ntimezone = "Mars/Olympus"', ["store.timezone = 'Mars/Olympus'", "IANA"]),
        ("[screen]\nlanguage = 3", ["screen.language = 3", "'en', 'zh-Hans'"]),
        ("store = 3", ["store = 3"]),
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
    for part in told:
        assert part in line


def test_a_missing_or_huge_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"nothing\.toml"):
        config.load(tmp_path / "nothing.toml", tmp_path)
    with pytest.raises(OperatorError, match="64 KiB"):
        load(tmp_path, "#" * 70_000)


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
