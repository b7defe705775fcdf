"""The key that till and kiosk share."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiosk.domain.errors import OperatorError
from kiosk.till.key import new_key, read_key


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_new_key_is_read_back_and_is_never_the_same(tmp_path: Path) -> None:
    keys = {read_key(write(tmp_path / "till.key", new_key())) for _ in range(5)}
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 5


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(OperatorError, match="chmod 600"):
        read_key(write(tmp_path / "till.key", new_key(), mode))


@pytest.mark.parametrize(
    "content", [b"", b"0" * 63, b"0" * 65, b"G" * 64, b"0" * 64 + b"\n\n", b"\0" * 10_000]
)
def test_what_is_no_key_is_said_without_showing_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(OperatorError, match="not a till's key") as error:
        read_key(write(tmp_path / "till.key", content))
    assert "000" not in str(error.value).replace(str(tmp_path), "")


def test_a_key_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="kiosk till key"):
        read_key(tmp_path / "till.key")
