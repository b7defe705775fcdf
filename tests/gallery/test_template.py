from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kiosk.domain.limits import Limits
from kiosk.gallery.template import TEMPLATE_SIZE, PayerRecord, Reference, Template, cosine

ONES = np.ones(TEMPLATE_SIZE)


def fields(**changed):
    values = {
        "token": "t1",
        "masked_name": "*明",
        "masked_account": "**** 1",
        "digits": "0042",
        "consent_ref": "c1",
        "enrolled_at_s": 0,
        "references": (Reference(Template.of(ONES), "m"),),
    }
    return values | changed


@given(arrays(np.float64, TEMPLATE_SIZE, elements=st.floats(-1e6, 1e6)))
def test_a_template_has_length_one_and_is_its_own_best_match(vector):
    if not np.linalg.norm(vector) > 0:
        with pytest.raises(ValueError, match="no direction"):
            Template.of(vector)
        return
    made = Template.of(vector)
    assert made.vector.dtype == np.float32
    assert np.linalg.norm(made.vector) == pytest.approx(1, abs=1e-5)
    assert cosine(made, made) == pytest.approx(1, abs=1e-5)


def test_a_template_of_another_size_or_length_is_refused():
    with pytest.raises(ValueError, match="192 components"):
        Template.of(np.ones(128))
    with pytest.raises(ValueError, match="length 1"):
        Template(np.full(TEMPLATE_SIZE, 0.5, np.float32))


def test_a_template_is_its_own_copy_and_cannot_be_changed_by_accident():
    vector = (ONES / np.linalg.norm(ONES)).astype(np.float32)
    made = Template(vector)
    vector[0] = 9
    assert made.vector[0] != 9
    with pytest.raises(ValueError, match="read-only"):
        made.vector[0] = 1


def test_wiping_overwrites_the_vector_in_place():
    made = Template.of(ONES)
    memory = made.vector
    made.wipe()
    assert made.wiped
    assert not memory.any()


def test_nothing_personal_shows_in_a_repr():
    shown = repr(PayerRecord(**fields()))
    assert "0042" not in shown
    assert "明" not in shown
    assert "0.07" not in shown
    assert "t1" in shown


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"token": ""}, "token"),
        ({"token": "a\nb"}, "token"),
        ({"masked_name": "x" * 129}, "masked_name"),
        ({"masked_account": "\x1b[2J"}, "masked_account"),
        ({"digits": "123"}, "digits"),
        ({"digits": "12a4"}, "digits"),
        ({"digits": "١٢٣٤"}, "digits"),
        ({"enrolled_at_s": -1}, "enrolled_at_s"),
        ({"enrolled_at_s": 9, "keep_until_s": 9}, "keep_until_s"),
        ({"consent_text": "v1/\u202ear"}, "consent_text"),
        ({"references": ()}, "references"),
        ({"references": (Reference(Template.of(ONES), "m"),) * 9}, "references"),
        (
            {"references": (Reference(Template.of(ONES), "m"), Reference(Template.of(ONES), "n"))},
            "one network",
        ),
    ],
)
def test_a_record_that_is_not_valid_is_refused(changed, complaint):
    with pytest.raises(ValueError, match=complaint):
        PayerRecord(**fields(**changed))


def test_a_person_may_have_given_no_digits():
    assert PayerRecord(**fields(digits="")).digits == ""


@pytest.mark.parametrize("limits", [Limits(per_kiosk_day=1), Limits(per_payment=1, pin_above=0)])
def test_a_person_limits_a_payment_and_a_day_and_nothing_else(limits):
    with pytest.raises(ValueError, match="own limits"):
        PayerRecord(**fields(limits=limits))
