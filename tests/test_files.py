"""A file is there whole or as it was before, whatever the system refuses meanwhile."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kiosk.domain.errors import OperatorError
from kiosk.files import is_there, write_whole


def test_a_file_takes_the_former_one_s_place_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for content in (b"first", b"second"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_power_cut_left_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "state.new").write_bytes(b"half")
    write_whole(tmp_path / "state", b"whole", 0o644)
    assert (tmp_path / "state").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "replace"), (os, "open")])
def test_what_the_system_refuses_leaves_the_former_file_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    path = tmp_path / "state"
    write_whole(path, b"before")

    def refuse(*arguments: object, **others: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, refuse)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_there(tmp_path / "nothing")

    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(OperatorError, match="Permission denied"):
        is_there(tmp_path / "locked")
