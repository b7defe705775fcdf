"""Hypothesis presses the buttons and pulls the plugs: the same world, and what fails is made short."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kiosk.domain.payment import (
    Cancel,
    Confirm,
    Done,
    Identified,
    Looking,
    Means,
    PayAnotherWay,
    PayWithFace,
    PinEntry,
)

from .mutants import MUTANTS
from .world import FINE, ORDERS, Parts, Place, Violation, Weather, World

CHANCE = st.sampled_from((0.0, 0.3, 1.0))


class Shop(RuleBasedStateMachine):
    """A shop with one kiosk, its acquirer, and a network between them that the rules set as they like."""

    folder: Path
    place: Place
    parts = Parts()

    @initialize(seed=st.integers(0, 2**32 - 1))
    def open(self, seed: int) -> None:
        self.world = World(random.Random(seed), self.place, parts=self.parts, trace=[])
        self.world.weather = FINE
        self.world._deadly = 0.0

    @rule(number=st.integers(0, ORDERS - 1), ms=st.sampled_from((0, 3_000, 20_000)))
    def pay(self, number: int, ms: int) -> None:
        """Whatever is on the screen, somebody tries to pay."""
        for event in (Done(), Cancel()):
            self.world.press(event)
        self.world.offer(number)
        self.world.press(PayWithFace())
        self.world.look()
        self.world.press(Confirm())
        if isinstance(self.world.kernel.state, PinEntry):
            self.world.type_pin(right=True)
        self.world.pass_ms(ms)

    @rule(number=st.integers(0, ORDERS - 1))
    def offer(self, number: int) -> None:
        self.world.offer(number)

    @precondition(lambda self: isinstance(self.world.kernel.state, Looking))
    @rule()
    def look(self) -> None:
        self.world.look()

    @precondition(lambda self: isinstance(self.world.kernel.state, Identified))
    @rule(times=st.integers(1, 2))
    def confirm(self, times: int) -> None:
        for _ in range(times):
            self.world.press(Confirm())

    @precondition(lambda self: isinstance(self.world.kernel.state, PinEntry))
    @rule(right=st.booleans())
    def type_pin(self, right: bool) -> None:
        self.world.type_pin(right=right)

    @precondition(lambda self: self.world.gives_back)
    @rule()
    def give_money_back(self) -> None:
        self.world.give_money_back()

    @precondition(lambda self: self.world.sells_offline)
    @rule()
    def change_reach(self) -> None:
        self.world.change_reach()

    @rule(event=st.sampled_from((Cancel(), Done(), PayWithFace(), Confirm(), PayAnotherWay(Means.TILL))))
    def press(self, event: Cancel | Done | PayWithFace | Confirm | PayAnotherWay) -> None:
        self.world.press(event)

    @rule(ms=st.sampled_from((1, 250, 1_000, 3_000, 16_000, 70_000)))
    def wait(self, ms: int) -> None:
        self.world.pass_ms(ms)

    @rule(lost=CHANCE, doubled=CHANCE, late=CHANCE, hurt=CHANCE, swapped=CHANCE, held=CHANCE, refused=CHANCE)
    def change_weather(self, **chances: float) -> None:
        self.world.weather = Weather(**chances)

    @rule(deadly=st.sampled_from((0.0, 0.05, 0.3)))
    def tire(self, deadly: float) -> None:
        """From now on both processes die now and then, between any two steps."""
        self.world._deadly = deadly

    @rule()
    def kill_kiosk(self) -> None:
        self.world.alive(lambda: self.world.kill_kiosk("at rest"))

    @precondition(lambda self: self.world._up)
    @rule()
    def kill_acquirer(self) -> None:
        self.world.kill_acquirer()

    @rule(off_s=st.sampled_from((0.0, -4.0, 30.0, -3_600.0, 86_400.0)))
    def jump_clock(self, off_s: float) -> None:
        self.world.jump_clock(off_s)

    @precondition(lambda self: self.world.capped)
    @rule(off_s=st.sampled_from((0.0, 900.0)))
    def jump_both_clocks(self, off_s: float) -> None:
        self.world.jump_both_clocks(off_s)

    @rule()
    def replace_network(self) -> None:
        self.world.replace_network()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.heal()
                self.world.settle()
            finally:
                self.world.journal.close()


def run(parts: Parts, examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    folder = Path(tempfile.mkdtemp(prefix="kiosk-faults-"))
    machine = type("ShopHere", (Shop,), {"folder": folder, "place": Place(folder), "parts": parts})
    given = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        phases=phases,
        database=None,
        derandomize=Phase.shrink not in phases,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=given)
    finally:
        shutil.rmtree(folder)


def test_whatever_is_pressed_and_pulled_money_is_neither_lost_nor_doubled() -> None:
    run(Parts(), examples=150)


def test_a_kiosk_that_forgets_what_is_open_at_its_restart_does_not_pass() -> None:
    with pytest.raises(Violation):
        run(MUTANTS["ForgetsAtRestart"], examples=400, phases=(Phase.generate,))
