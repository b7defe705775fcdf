"""The merchant's setting: under the acquirer's, followed at once, and each change with its author."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiosk.app.audit import Audit
from kiosk.app.limits import LIMITS_NAME, MerchantLimits
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import MAX_COUNT, Limits

CEILING = Limits(per_payment=100_000, per_person_hour_count=30)
NOW = 1_800_000_000.0


def trail(folder: Path) -> Audit:
    return Audit(folder, lambda purpose: bytes(32))


def the_limits(folder: Path, configured: Limits = Limits()) -> MerchantLimits:  # noqa: B008 - frozen
    return MerchantLimits(folder, configured, "CNY", trail(folder))


def change(limits: MerchantLimits, kind: str, value: int | None, staff: str = "1007") -> None:
    limits.change(kind, value, ceiling=CEILING, at_s=NOW, staff=staff)


def test_what_is_set_holds_at_once_and_in_every_process(tmp_path: Path) -> None:
    limits = the_limits(tmp_path)
    assert limits.in_force() == Limits()
    change(limits, "per_payment", 50_000)
    change(the_limits(tmp_path), "per_kiosk_day_count", 0)
    assert limits.in_force() == Limits(per_payment=50_000, per_kiosk_day_count=0)
    change(limits, "per_payment", None)
    assert limits.in_force() == Limits(per_kiosk_day_count=0)


def test_what_is_set_lies_under_the_configuration(tmp_path: Path) -> None:
    limits = the_limits(tmp_path, Limits(per_payment=30_000, pin_above=0))
    change(limits, "per_payment", 20_000)
    assert limits.in_force() == Limits(per_payment=20_000, pin_above=0)
    assert the_limits(tmp_path, Limits(per_payment=10_000)).in_force() == Limits(per_payment=10_000)


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("per_payment", 100_001, "¥ 1,000.01 is above the acquirer's ceiling, ¥ 1,000.00"),
        ("per_person_hour_count", 31, "31 is above the acquirer's ceiling, 30"),
        ("pin_above", 1, "¥ 0.01 is above kiosk.toml, ¥ 0.00"),
        ("per_kiosk_day_count", MAX_COUNT + 1, "whole payments"),
    ],
)
def test_above_what_the_acquirer_or_the_configuration_says_nothing_is_set(
    tmp_path: Path, kind: str, value: int, told: str
) -> None:
    with pytest.raises(OperatorError, match="nothing was changed") as refused:
        change(the_limits(tmp_path, Limits(pin_above=0)), kind, value)
    assert told in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_at_the_ceiling_is_allowed(tmp_path: Path) -> None:
    change(the_limits(tmp_path), "per_payment", 100_000)
    assert the_limits(tmp_path).in_force().per_payment == 100_000


def test_every_change_is_in_the_trail_with_its_author(tmp_path: Path) -> None:
    limits = the_limits(tmp_path)
    change(limits, "per_payment", 50_000)
    change(limits, "per_payment", None, staff="")
    told = [
        (entry.staff, entry.values["before"], entry.values["after"]) for entry in trail(tmp_path).entries()
    ]
    assert told == [("1007", None, 50_000), ("", 50_000, None)]


def test_a_change_that_can_t_be_noted_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(OperatorError, match="nothing was changed"):
        change(the_limits(tmp_path), "per_payment", 1)
    assert the_limits(tmp_path).in_force() == Limits()


def test_a_disk_that_refuses_the_file_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kiosk.app.limits.write_whole", full)
    with pytest.raises(OperatorError, match=r"No space left.*nothing was changed"):
        change(the_limits(tmp_path), "per_payment", 1)
    assert the_limits(tmp_path).in_force() == Limits()


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b'{"per_payment": -1}', b'{"per_moon": 1}', b'{"per_payment": "1"}']
)
def test_a_file_that_can_t_be_believed_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LIMITS_NAME).write_bytes(content)
    with pytest.raises(OperatorError, match="nobody pays by face"):
        the_limits(tmp_path).in_force()
