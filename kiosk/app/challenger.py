"""The challenges of one look: draws, lets somebody ask, watches the answer on the camera that is still open.

Who asks (the screen, a terminal) is handed in and reports when the request could be seen; until then nothing
counts as an answer. It fails closed: only two challenges of different kinds, both passed, make a look live
(one turn where nothing else can be asked), a failed one is an attack, and the rest leaves it unsure.
"""

from __future__ import annotations

import queue
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.challenge import Challenge, ChallengeKind, ChallengeOutcome
from kiosk.domain.decision import LookOutcome
from kiosk.domain.payment import challenge_ms
from kiosk.frames import SourceKind
from kiosk.vision.challenge import ChallengeRules, Examiner, draw
from kiosk.vision.flash import FlashFit
from kiosk.vision.look import LookResult
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint, SteadyHint

__all__ = ["Answered", "Challenger", "Watch"]

Watch = Callable[[Callable[[Observation], bool], float], None]
"""Reads on from the open source and hands over every observation until that returns True, the source is dry,
the look is stopped, or this many seconds have passed."""

NOT_YET_NS: Final = 2**62
"""The request is not on the screen: no frame is later than this."""
SPARE_MS: Final = 1_000
"""By how much the worker gives up before the payment machine does, so that it is the one to say why."""


Proof = tuple[ChallengeKind, ...]
"""Kinds that prove the same; which of them is asked is drawn."""
TURN: Final[Proof] = (ChallengeKind.TURN_LEFT, ChallengeKind.TURN_RIGHT)
FLASH: Final[Proof] = (ChallengeKind.FLASH,)
BLINK: Final[Proof] = (ChallengeKind.BLINK,)

HINTS: Final = frozenset((Hint.ONE_PERSON, Hint.CLOSER, Hint.FURTHER, Hint.MOVE_INTO_VIEW, Hint.LOOK_HERE))
"""What is told besides the request. A turned head hides an eye, a blink closes both, and a flash is too much
light or too little: what the quality gate says of those is no mistake of the payer's."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked and what came of it; of a flash also what was measured."""

    kind: ChallengeKind
    outcome: ChallengeOutcome
    flash: FlashFit | None = None


class Challenger:
    """One look's challenges. `shown` may be called from any thread; all else belongs to the look's own.

    Args:
        ask: brings a request before the payer; must not wait.
        kinds: what can be asked here; none: nobody is challenged.
        always: ask also who looks live (the shop's policy), and take nobody for live who wasn't asked.
        same_person: cosine below which a face is another one.
        stopped: whether the look was called off: then nothing more is asked.
        on_progress: hint and progress of the answer, as for a look.
    """

    def __init__(
        self,
        ask: Callable[[Challenge], None],
        *,
        kinds: tuple[ChallengeKind, ...],
        always: bool,
        same_person: float,
        stopped: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Hint | None, float], None] = lambda hint, progress: None,
    ) -> None:
        self.answered: list[Answered] = []
        self._ask, self._kinds, self.always = ask, kinds, always
        self._same_person, self._stopped, self._on_progress = same_person, stopped, on_progress
        self._open: tuple[Challenge, queue.SimpleQueue[tuple[int, int]]] | None = None

    def shown(self, challenge: Challenge, index: int, at_ns: int) -> None:
        """The payer could see the request (index 0), or colour `index`, from `at_ns` on (monotonic clock).

        Without effect for any but the very challenge that is open now.
        """
        now = self._open
        if now is not None and challenge is now[0]:
            now[1].put((index, at_ns))

    def settle(
        self, found: LookResult, template: NDArray[np.float32] | None, source: SourceKind, watch: Watch
    ) -> LookResult:
        """`found`, or what challenges make of it. `template` becomes the result's, or is overwritten."""
        outcome = LookOutcome.UNSURE
        try:
            if not self._is_wanted(found):
                outcome = found.outcome
            elif template is not None and source is SourceKind.LIVE:
                outcome = self._outcome(template, watch)
        finally:
            settled = _with(found, outcome, template)
        return settled

    def examine(
        self,
        challenge: Challenge,
        reference: NDArray[np.float32] | None,
        watch: Watch,
        patience_s: float | None = None,
    ) -> ChallengeOutcome:
        """Ask one challenge and watch until it is answered, or for `patience_s` (default: its own time)."""
        examiner = Examiner(
            challenge,
            ChallengeRules(),
            reference=reference,
            same_person=self._same_person,
            asked_ns=NOT_YET_NS,
        )
        reports: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        outcomes: list[ChallengeOutcome] = []
        hints = SteadyHint()

        def take(observation: Observation) -> bool:
            while not reports.empty():
                examiner.shown(*reports.get_nowait())
            outcome = examiner.feed(observation)
            hint = examiner.hint if examiner.hint in HINTS else None
            self._on_progress(hints.show(hint, observation.timestamp_ns), examiner.progress)
            if outcome is not None:
                outcomes.append(outcome)
            return outcome is not None

        self._open = challenge, reports
        self._ask(challenge)
        watch(take, (challenge_ms(challenge) - SPARE_MS) / 1000 if patience_s is None else patience_s)
        self._open = None
        outcome = outcomes[0] if outcomes else examiner.finish()
        self.answered.append(Answered(challenge.kind, outcome, examiner.flash))
        return outcome

    def _is_wanted(self, found: LookResult) -> bool:
        grey = found.outcome is LookOutcome.UNSURE and found.challengeable
        return grey or (self.always and found.outcome is LookOutcome.LIVE)

    def _outcome(self, template: NDArray[np.float32], watch: Watch) -> LookOutcome:
        """Ask for each proof in turn. A flash that settles nothing (a sunny window) gives way to a blink."""
        wanted = self._proofs()
        outcome, with_turn = LookOutcome.UNSURE, TURN in wanted
        while wanted:
            if self._stopped():
                return LookOutcome.UNSURE
            proof = wanted.pop(0)
            match self.examine(draw(self._possible(proof)), template, watch):
                case ChallengeOutcome.PASSED:
                    outcome = LookOutcome.LIVE
                case ChallengeOutcome.FAILED:
                    return LookOutcome.ATTACK
                case _ if proof is FLASH and with_turn and self._possible(BLINK):
                    wanted.append(BLINK)
                case _:  # never the other turn: of two directions, the second would be known beforehand
                    return LookOutcome.UNSURE
        return outcome

    def _proofs(self) -> list[Proof]:
        """What has to be passed, in the order of asking; nothing where no proof would be worth anything.

        Each alone is weak, and weak against something else (docs/adr/0022): paper is lit as skin is, a film
        turns and blinks by chance (14 % and 34 %) and is not lit. A turn and a flash, which comes first is
        drawn; a blink, last, where one of the two can't be asked.
        """
        proofs = [proof for proof in (TURN, FLASH) if self._possible(proof)]
        if len(proofs) == 2:
            return proofs if secrets.randbelow(2) else proofs[::-1]
        if proofs and self._possible(BLINK):
            return [*proofs, BLINK]
        return proofs if proofs == [TURN] else []

    def _possible(self, proof: Proof) -> list[ChallengeKind]:
        return [kind for kind in proof if kind in self._kinds]


def _with(found: LookResult, outcome: LookOutcome, template: NDArray[np.float32] | None) -> LookResult:
    """The same look with this outcome: a template goes with a live one, and with no other."""
    live = outcome is LookOutcome.LIVE
    for held in (found.template, template):
        if held is not None and not (live and held is template):
            held.fill(0.0)
    return replace(found, outcome=outcome, template=template if live else None)
