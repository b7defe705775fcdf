from __future__ import annotations

import pytest

from kiosk.domain.errors import OperatorError
from kiosk.sandbox.faults import Fault, FaultPlan, Kind


def test_faults_come_in_order_and_end():
    plan = FaultPlan(["drop-answer:2", "delay:1.5", "decline"])
    taken = [plan.take() for _ in range(5)]
    assert taken == [
        Fault(Kind.DROP_ANSWER),
        Fault(Kind.DROP_ANSWER),
        Fault(Kind.DELAY, 1.5),
        Fault(Kind.DECLINE),
        None,
    ]


def test_a_delay_may_be_for_several_calls():
    plan = FaultPlan(["delay:0.1:2"])
    assert [plan.take(), plan.take(), plan.take()] == [Fault(Kind.DELAY, 0.1), Fault(Kind.DELAY, 0.1), None]


@pytest.mark.parametrize(
    "text",
    [
        "", "explode", "drop-answer:", "drop-answer:0", "drop-answer:x", "decline:1:1", "delay", "delay:-1",
        "delay:nan", "delay:601", "delay:1:2:3",
    ],
)  # fmt: skip
def test_what_is_no_fault_is_said_in_one_line(text):
    with pytest.raises(OperatorError, match="fault"):
        FaultPlan([text])
