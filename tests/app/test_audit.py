"""The audit trail: every change in it, none cut out unseen."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from kiosk.app.audit import AUDIT_NAME, MARK_NAME, TAIL_BYTES, Audit, verified
from kiosk.domain.chain import GENESIS, link
from kiosk.domain.errors import OperatorError
from kiosk.files import write_whole

AT = 1_800_000_000


def secret(purpose: str) -> bytes:
    return purpose.encode().ljust(32)


def the_trail(folder: Path) -> Audit:
    return Audit(folder, secret)


def noted(folder: Path, *kinds: str) -> Path:
    for at, kind in enumerate(kinds, start=AT):
        the_trail(folder).note("limit", at_s=at, staff="1007", kind=kind, before=None, after=at)
    return folder / AUDIT_NAME


def kinds(folder: Path) -> list[object]:
    return [entry.values["kind"] for entry in the_trail(folder).entries()]


def test_what_was_noted_is_there_in_its_order(tmp_path: Path) -> None:
    assert the_trail(tmp_path).entries() == []
    path = noted(tmp_path, "a", "b")
    entries = the_trail(tmp_path).entries()
    assert [(entry.what, entry.staff, entry.values["kind"]) for entry in entries] == [
        ("limit", "1007", "a"),
        ("limit", "1007", "b"),
    ]
    assert entries[0].at.timestamp() == AT
    assert all(file.stat().st_mode & 0o077 == 0 for file in (path, tmp_path / MARK_NAME))


@pytest.mark.parametrize("hurt", ["changed", "cut out", "swapped", "junk"])
def test_a_trail_that_other_hands_changed_is_said_and_not_added_to(tmp_path: Path, hurt: str) -> None:
    path = noted(tmp_path, "a", "b", "c")
    first, second, third = path.read_bytes().splitlines(keepends=True)
    changed = {
        "changed": first.replace(b"1007", b"1008") + second + third,
        "cut out": first + third,
        "swapped": second + first + third,
        "junk": first + b"\xff\n" + third,
    }
    path.write_bytes(changed[hurt])
    for use in (the_trail(tmp_path).entries, lambda: noted(tmp_path, "d")):
        with pytest.raises(OperatorError, match="breaks the chain"):
            use()
    assert path.read_bytes() == changed[hurt]


def written_anew(trail: bytes) -> bytes:
    """What somebody who knows the scheme, and not the key, makes of a trail: the author is another one."""
    last, lines = GENESIS, []
    for text in trail.splitlines():
        entry = {**msgspec.json.decode(text)["entry"], "staff": "1008"}
        last = link(last, msgspec.json.encode(entry))
        lines.append(msgspec.json.encode({"entry": entry, "hash": last}) + b"\n")
    return b"".join(lines)


@pytest.mark.parametrize("hurt", ["last cut off", "all cut off", "written anew", "mark gone", "mark forged"])
def test_a_trail_whose_own_chain_fits_is_held_against_its_mark(tmp_path: Path, hurt: str) -> None:
    path, mark = noted(tmp_path, "a", "b", "c"), tmp_path / MARK_NAME
    whole = path.read_bytes()
    match hurt:
        case "last cut off":
            path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
        case "all cut off":
            path.unlink()
        case "written anew":
            path.write_bytes(written_anew(whole))
            assert len(verified(path.read_bytes(), "x").hashes) == 3  # the chain alone says that all is well
        case "mark gone":
            mark.unlink()
        case _:
            mark.write_bytes(mark.read_bytes().replace(b'"size":', b'"size":1'))
    for use in (the_trail(tmp_path).entries, lambda: noted(tmp_path, "d")):
        with pytest.raises(OperatorError, match=r"cut off or changed|its mark is"):
            use()


def test_an_older_trail_with_its_own_mark_is_told_by_a_hash_that_was_noted_elsewhere(tmp_path: Path) -> None:
    path, mark = noted(tmp_path, "a"), tmp_path / MARK_NAME
    older = path.read_bytes(), mark.read_bytes()
    noted(tmp_path, "b")
    head = the_trail(tmp_path).trail().head
    noted(tmp_path, "c")
    assert the_trail(tmp_path).trail().holds(head)
    path.write_bytes(older[0])
    mark.write_bytes(older[1])
    assert not the_trail(tmp_path).trail().holds(head)
    assert the_trail(tmp_path).trail().holds(GENESIS)


def test_a_line_that_a_power_cut_left_half_is_none(tmp_path: Path) -> None:
    path, mark = noted(tmp_path, "a"), tmp_path / MARK_NAME
    first, marked = path.read_bytes(), mark.read_bytes()
    noted(tmp_path, "b")
    whole = path.read_bytes()
    for length in range(len(first) + 1, len(whole)):
        path.write_bytes(whole[:length])
        mark.write_bytes(marked)  # it comes after the line
        assert kinds(tmp_path) == ["a"]
    noted(tmp_path, "c")
    assert kinds(tmp_path) == ["a", "c"]


def test_a_cut_between_line_and_mark_loses_nothing(tmp_path: Path) -> None:
    noted(tmp_path, "a")
    marked = (tmp_path / MARK_NAME).read_bytes()
    noted(tmp_path, "b")
    (tmp_path / MARK_NAME).write_bytes(marked)
    assert kinds(tmp_path) == ["a", "b"]
    noted(tmp_path, "c")
    assert kinds(tmp_path) == ["a", "b", "c"]


def test_lines_that_another_hand_adds_are_not_believed(tmp_path: Path) -> None:
    """The chain needs no key: whoever may write to the file could add an approval that nobody gave."""
    path = noted(tmp_path, "a", "b")
    last = msgspec.json.decode(path.read_bytes().splitlines()[-1])["hash"]
    entry = msgspec.json.decode(path.read_bytes().splitlines()[-1])["entry"]
    with path.open("ab") as file:
        for staff in ("1001", "1002"):
            forged = {**entry, "staff": staff}
            last = link(last, msgspec.json.encode(forged))
            file.write(msgspec.json.encode({"entry": forged, "hash": last}) + b"\n")
    for use in (the_trail(tmp_path).entries, lambda: noted(tmp_path, "d")):
        with pytest.raises(OperatorError, match="lines were added"):
            use()


class Cut(BaseException):
    """The power is gone."""


def test_cuts_one_after_another_between_line_and_mark_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted(tmp_path, "a")
    for kind in ("b", "c", "d"):
        head = the_trail(tmp_path).trail().head

        def keep(path: Path, content: bytes, head: str = head) -> None:
            if head.encode() not in content:  # the mark of the line that was just written
                raise Cut
            write_whole(path, content)

        with monkeypatch.context() as patch:
            patch.setattr("kiosk.app.audit.write_whole", keep)
            with pytest.raises(Cut):
                noted(tmp_path, kind)
    assert kinds(tmp_path) == ["a", "b", "c", "d"]


def test_a_line_whose_mark_the_disk_refuses_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = noted(tmp_path, "a")
    before = path.read_bytes()

    def refuses(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("kiosk.app.audit.write_whole", refuses)
        for _ in range(3):
            with pytest.raises(OperatorError, match="nothing was changed"):
                noted(tmp_path, "b")
    assert path.read_bytes() == before
    assert kinds(tmp_path) == ["a"]


def test_a_cut_before_the_first_line_leaves_a_trail_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kiosk.app.audit.link", cut)
        with pytest.raises(KeyboardInterrupt):
            noted(tmp_path, "a")
    assert the_trail(tmp_path).entries() == []
    noted(tmp_path, "b")
    assert kinds(tmp_path) == ["b"]


def test_several_at_once_take_turns(tmp_path: Path) -> None:
    threads = [threading.Thread(target=noted, args=(tmp_path, str(number))) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(kinds(tmp_path)) == set(map(str, range(8)))


def test_a_payer_is_a_mark_that_only_this_kiosk_can_make(tmp_path: Path) -> None:
    trail = the_trail(tmp_path)
    trail.note("enrol", at_s=AT, payer="tok-7f3a", references=3)
    (entry,) = trail.entries()
    assert entry.values == {"payer": trail.payer_mark("tok-7f3a"), "references": 3}
    assert len(trail.payer_mark("tok-7f3a")) == 12
    assert trail.payer_mark("tok-7f3a") != trail.payer_mark("tok-7f3b")
    assert Audit(tmp_path, lambda purpose: bytes(32)).payer_mark("tok-7f3a") != trail.payer_mark("tok-7f3a")
    assert b"7f3a" not in (tmp_path / AUDIT_NAME).read_bytes()


@pytest.mark.parametrize("value", [0.5, b"\x00" * 8, [1, 2], "x" * 201])
def test_nothing_that_could_hold_a_template_can_be_noted(tmp_path: Path, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        the_trail(tmp_path).note("sync", at_s=AT, version=value)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_what_is_exported_is_verified_anywhere(tmp_path: Path) -> None:
    noted(tmp_path, "a", "b")
    exported = the_trail(tmp_path).exported()
    assert verified(exported, "x") == the_trail(tmp_path).trail()
    assert verified(b"", "x").head == GENESIS
    with pytest.raises(OperatorError, match=r"trail\.jsonl: line 1 breaks the chain"):
        verified(exported.replace(b"1007", b"1008"), "trail.jsonl")


def long_trail(folder: Path, lines: int) -> Path:
    """Many lines at once, as the product would have written them."""
    last, whole = GENESIS, bytearray()
    for number in range(lines):
        entry = {
            "at": datetime.fromtimestamp(AT, UTC),
            "what": "sync",
            "staff": "",
            "values": {"version": number},
        }
        last = link(last, msgspec.json.encode(entry))
        whole += msgspec.json.encode({"entry": entry, "hash": last}) + b"\n"
    path = folder / AUDIT_NAME
    path.write_bytes(whole)
    the_trail(folder)._keep(msgspec.convert({"size": len(whole), "hash": last}, type=_mark_type()))
    return path


def _mark_type() -> type:
    from kiosk.app import audit

    return audit._Mark


def test_a_line_is_added_to_a_long_trail_without_reading_all_of_it(tmp_path: Path) -> None:
    path = long_trail(tmp_path, 2_000)
    before = path.read_bytes()
    assert len(before) > 3 * TAIL_BYTES
    spoilt = before[:1000] + b"#" + before[1001:]
    path.write_bytes(spoilt)
    noted(tmp_path, "a")  # what is far back is not looked at now
    with pytest.raises(OperatorError, match="line 7 breaks the chain"):
        the_trail(tmp_path).entries()  # and is found when somebody verifies
    path.write_bytes(before + path.read_bytes()[len(before) :])
    assert len(the_trail(tmp_path).entries()) == 2_001
    near_the_end = path.read_bytes()[:-1000] + b"#" + path.read_bytes()[-999:]
    path.write_bytes(near_the_end)
    with pytest.raises(OperatorError, match="line at byte"):
        noted(tmp_path, "b")


def test_a_folder_that_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="nothing was changed"):
        noted(tmp_path / "missing", "a")
    (tmp_path / AUDIT_NAME).mkdir()
    with pytest.raises(OperatorError, match="cannot be read"):
        the_trail(tmp_path).entries()
