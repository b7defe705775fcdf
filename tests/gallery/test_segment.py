"""A segment opens in its place with its key, whole; every other way it is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.limits import Limits
from kiosk.gallery.segment import SEGMENT_PEOPLE, Place, SegmentError, open_segment, seal
from kiosk.gallery.template import PayerRecord, Reference, Template

KEY = bytes(range(32))
PLACE = Place("0123456789abcdef", 3, 7)


def person(number: int, references: int = 1) -> PayerRecord:
    noise = np.random.default_rng(number)
    return PayerRecord(
        token=f"pyr-{number}",
        masked_name="*明",
        masked_account="•••• 1234",
        digits="1234" if number % 2 else "",
        consent_ref=f"consent-{number}",
        enrolled_at_s=1_700_000_000 + number,
        references=tuple(
            Reference(Template.of(noise.standard_normal(192)), "net-1") for _ in range(references)
        ),
        limits=Limits(5_000 if number % 3 else None, 10_000),
        keep_until_s=1_800_000_000,
        consent_text="v1/ar",
        by_guardian=number % 5 == 0,
    )


def shown(record: PayerRecord) -> dict[str, object]:
    fields = {one.name: getattr(record, one.name) for one in dataclasses.fields(record)}
    fields["references"] = [(one.model_id, one.template.vector.tobytes()) for one in record.references]
    return fields


@given(st.lists(st.integers(1, 8), max_size=12))
def test_what_was_sealed_comes_back_in_full(references: list[int]) -> None:
    people = [person(number, count) for number, count in enumerate(references)]
    assert [shown(one) for one in open_segment(KEY, PLACE, seal(KEY, PLACE, people))] == [
        shown(one) for one in people
    ]


@pytest.mark.parametrize(
    "place",
    [Place("fedcba9876543210", 3, 7), Place(PLACE.epoch_id, 4, 7), Place(PLACE.epoch_id, 3, 8),
     Place(PLACE.epoch_id, 37, 0)],
)  # fmt: skip
def test_a_segment_stands_for_no_other(place: Place) -> None:
    with pytest.raises(SegmentError, match="belongs elsewhere"):
        open_segment(KEY, place, seal(KEY, PLACE, [person(1)]))


def test_another_key_opens_nothing() -> None:
    with pytest.raises(SegmentError, match="another key"):
        open_segment(bytes(32), PLACE, seal(KEY, PLACE, [person(1)]))


def test_every_byte_counts() -> None:
    sealed = seal(KEY, PLACE, [person(1)])
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(SegmentError):
            open_segment(KEY, PLACE, changed)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused_in_words(raw: bytes) -> None:
    with pytest.raises(SegmentError):
        open_segment(KEY, PLACE, raw)


def test_cut_off_and_lengthened_ones_are_refused() -> None:
    sealed = seal(KEY, PLACE, [person(1), person(2)])
    for changed in (sealed[:-1], sealed[:60], sealed + b"\0", bytes(17 * 2**20)):
        with pytest.raises(SegmentError):
            open_segment(KEY, PLACE, changed)


def test_too_many_people_are_no_segment() -> None:
    one = person(1)
    with pytest.raises(ValueError, match="more than a segment holds"):
        seal(KEY, PLACE, [one] * (SEGMENT_PEOPLE + 1))


def test_no_name_and_no_template_shows_in_what_is_sealed() -> None:
    one = person(1)
    sealed = bytes(seal(KEY, PLACE, [one]))
    assert b"pyr-1" not in sealed
    assert one.references[0].template.vector.tobytes()[:16] not in sealed
