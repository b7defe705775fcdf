"""Nobody stays longer than they agreed to, and a withdrawal outlives whatever cuts it short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kiosk.app.membership import Retention, is_enrolled_already, withdraw
from kiosk.app.people import EnrolledPeople
from kiosk.app.wiring import Base, open_base
from kiosk.domain.errors import OperatorError
from kiosk.gallery.template import PayerRecord, Reference, Template

from ..conftest import VirtualClock

DAY_S = 86_400


def a_face(seed: int) -> np.ndarray:
    face = np.random.default_rng(seed).normal(size=192).astype(np.float32)
    return face / np.linalg.norm(face)


@pytest.fixture
def base(tmp_path: Path, clock: VirtualClock) -> Iterator[Base]:
    with open_base(tmp_path, None) as opened:
        opened.clock = clock
        yield opened


def enrol(base: Base, token: str, *, days: int | None, face: int = 0) -> None:
    now = int(base.clock.utc_s())
    base.enrol(
        PayerRecord(
            token=token,
            masked_name="*",
            masked_account="*",
            digits="",
            consent_ref="c-1",
            enrolled_at_s=now,
            references=(Reference(Template(a_face(face)), base.embedding_id()),),
            keep_until_s=None if days is None else now + days * DAY_S,
        )
    )


def here(base: Base) -> list[str]:
    return [record.token for record in base.gallery.records()]


def test_whose_consent_is_over_is_gone_at_the_next_tick_from_memory_and_disk(
    base: Base, clock: VirtualClock
) -> None:
    for number, days in enumerate((1, 2, None)):
        enrol(base, f"pyr-{number}", days=days, face=number)
    retention = Retention(base)
    retention.tick()
    clock.advance(DAY_S * 1000 - 1)
    retention.tick()
    assert here(base) == ["pyr-0", "pyr-1", "pyr-2"]
    clock.advance(1)
    retention.tick()
    assert here(base) == ["pyr-1", "pyr-2"]
    with open_base(base.data_dir, None) as again:
        assert here(again) == ["pyr-1", "pyr-2"]
    clock.advance(DAY_S * 1000)
    retention.tick()
    assert here(base) == ["pyr-2"]
    noted = [(entry.what, entry.values["why"]) for entry in base.audit.entries()]
    assert noted == [("forget", "over"), ("forget", "over")]
    assert "pyr-0" not in (base.data_dir / "audit.jsonl").read_text()


def test_who_enrols_later_is_watched_too(base: Base, clock: VirtualClock) -> None:
    retention = Retention(base)
    retention.tick()
    enrol(base, "pyr-1", days=1)
    retention.tick()
    clock.advance(DAY_S * 1000)
    retention.tick()
    assert here(base) == []


def test_a_withdrawal_that_a_cut_left_half_done_is_made_good_at_the_next_start(base: Base) -> None:
    enrol(base, "pyr-1", days=9)
    enrol(base, "pyr-2", days=9, face=2)
    base.withdrawals.add("pyr-1")  # and here the power went
    with open_base(base.data_dir, None) as again:
        Retention(again).tick()
        assert here(again) == ["pyr-2"]
        assert again.withdrawals.tokens() == ["pyr-1"]  # the acquirer is still to be told


def test_a_damaged_list_of_withdrawals_keeps_nobody_and_makes_way_for_the_next(
    base: Base, clock: VirtualClock
) -> None:
    enrol(base, "pyr-over", days=1)
    enrol(base, "pyr-asks", days=None, face=1)
    (base.data_dir / "withdrawals.json").write_bytes(b"{")
    clock.advance(2 * DAY_S * 1000)
    retention = Retention(base)
    retention.tick()
    assert here(base) == ["pyr-asks"]
    assert "damaged" in str(retention.failure)

    withdraw(base, "pyr-asks")
    assert here(base) == []
    assert base.withdrawals.tokens() == ["pyr-asks"]
    assert (base.data_dir / "withdrawals.damaged").read_bytes() == b"{"
    retention.tick()
    assert retention.failure is None


def test_what_can_t_be_deleted_now_is_told_and_tried_again(
    base: Base, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(base, "pyr-1", days=1)
    retention = Retention(base)
    clock.advance(DAY_S * 1000)
    with monkeypatch.context() as full:

        def refuse(tokens: frozenset[str], tombstones_version: int | None = None) -> frozenset[str]:
            raise OperatorError("the disk is full")

        full.setattr(base.enrolled.store, "delete", refuse)
        retention.tick()
        assert ("full" in str(retention.failure), here(base)) == (True, [])
        with open_base(base.data_dir, None) as again:
            assert here(again) == ["pyr-1"]
    retention.tick()
    assert retention.failure is None
    with open_base(base.data_dir, None) as again:
        assert here(again) == []


def test_a_trail_that_can_t_be_written_holds_up_no_deletion(base: Base) -> None:
    enrol(base, "pyr-1", days=1)
    warned: list[str] = []
    base.warn = warned.append
    base.audit.note("start", at_s=0)
    (base.data_dir / "audit.jsonl").write_bytes(b"not a line\n")
    left = withdraw(base, "pyr-1")
    assert (left.here, left.at_acquirer, here(base)) == (True, None, [])
    assert "not in the audit trail" in warned[0]


def test_a_withdrawal_waits_for_an_acquirer_whose_file_is_broken(base: Base) -> None:
    enrol(base, "pyr-1", days=1)
    (base.data_dir / "acquirer.json").write_text("{")
    left = withdraw(base, "pyr-1")
    assert (left.here, left.at_acquirer, base.withdrawals.tokens()) == (True, None, ["pyr-1"])
    assert "acquirer.json" in left.why


def test_a_face_is_somebody_else_s_when_a_payment_would_take_it_for_theirs(base: Base) -> None:
    enrol(base, "pyr-1", days=1, face=1)
    assert is_enrolled_already(base, a_face(1))
    assert not is_enrolled_already(base, a_face(1), "pyr-1")
    assert not is_enrolled_already(base, a_face(2))


def test_who_is_gone_is_found_by_no_search_of_the_running_kiosk(base: Base, clock: VirtualClock) -> None:
    enrol(base, "pyr-1", days=1, face=1)
    people = EnrolledPeople(base.gallery, base.changed_gallery)
    retention = Retention(base, lambda: people.take(base.gallery))
    assert [one.token for one in people.search(a_face(1), None)] == ["pyr-1"]
    clock.advance(DAY_S * 1000)
    with open_base(base.data_dir, None) as other:  # another process changes the gallery at the same time
        enrol(other, "pyr-2", days=None, face=2)
    retention.tick()
    assert [one.token for one in people.search(a_face(1), None)] == ["pyr-2"]
