"""A moment is read with its offset: nobody has to know which clock is meant."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.moments import moment, rfc3339

AT_S = 1_795_593_603.9


@pytest.mark.parametrize(
    ("zone", "read", "written"),
    [
        ("Asia/Shanghai", "2026-11-25 16:00:03 +08:00", "2026-11-25T16:00:03+08:00"),
        ("America/St_Johns", "2026-11-25 04:30:03 -03:30", "2026-11-25T04:30:03-03:30"),
        ("UTC", "2026-11-25 08:00:03 +00:00", "2026-11-25T08:00:03+00:00"),
    ],
)
def test_it_is_the_store_s_clock_with_its_offset(zone: str, read: str, written: str) -> None:
    assert moment(AT_S, ZoneInfo(zone)) == read
    assert rfc3339(AT_S, ZoneInfo(zone)) == written


@given(st.floats(0, 4e9))
def test_without_a_store_it_is_the_machine_s(at_s: float) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", moment(at_s, None))
