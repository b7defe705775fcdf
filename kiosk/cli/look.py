"""`kiosk look`: one look at whoever stands before the camera; nobody has to be enrolled, nothing is paid."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiosk.cli.common import (
    REQUESTS,
    Camera,
    ConfigFile,
    DataDir,
    Json,
    ask_payer,
    complain,
    print_json,
    say,
)
from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.errors import OperatorError

if TYPE_CHECKING:
    from kiosk.app.challenger import Answered
    from kiosk.app.wiring import Base
    from kiosk.frames import Frame, FrameSource
    from kiosk.vision.look import LookResult

__all__ = ["look"]


class Exercise(StrEnum):
    """What `--challenge` takes."""

    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    BLINK = "blink"
    FLASH = "flash"
    RANDOM = "random"

    def kinds(self, live: bool) -> tuple[ChallengeKind, ...]:
        """To draw from. OperatorError for a flash before a camera: no screen is lit here."""
        if self is Exercise.RANDOM:
            return tuple(REQUESTS if live else ChallengeKind)
        if self is Exercise.FLASH and live:
            raise OperatorError(
                "a terminal lights no face", where="--challenge flash", do="`kiosk run` shows the colours."
            )
        return (ChallengeKind(self.value),)


def look(
    camera: Camera,
    challenge: Annotated[
        Exercise | None,
        typer.Option(
            help="Then ask for this, whatever was seen. Of a recording, which nobody can ask, the rest is "
            "examined as it is: for measuring only."
        ),
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Look once: is this a living person, how good is the picture, and what would the payer be told.

    `liveness` is what looking alone says, also with --challenge. Nothing is kept. Exit code 0 whatever was
    seen, 2 for wrong use.

    Example: kiosk look --camera photo.jpg --json
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain, begins=True) as base, base.cameras.opened(camera) as source:
        result, answered = _looked(base, source, challenge)
        if result is None:
            return
        seen = described(result, str(source.info.kind))
        seen["camera"] = {str(check): str(finding) for check, finding in source.evidence.items()}
    if challenge is not None:
        outcome = "unavailable" if answered is None else str(answered.outcome)
        seen["challenge"] = {
            "kind": str(challenge if answered is None else answered.kind),
            "outcome": outcome,
            "flash": asdict(answered.flash) if answered and answered.flash else None,
        }
    if json:
        print_json(seen)
    else:
        _say(seen)


def _looked(
    base: Base, source: FrameSource, exercise: Exercise | None
) -> tuple[LookResult | None, Answered | None]:
    """The look, and what the challenge came to; None for one that this source can't be asked (a picture)."""
    from kiosk.app.challenger import Challenger, Watch
    from kiosk.app.look import look_at
    from kiosk.frames import SourceKind
    from kiosk.vision.challenge import draw

    rules, kind = base.look_rules(), source.info.kind
    if exercise is None or kind is SourceKind.STILL:
        return look_at(source, base.vision(), rules), None
    live = kind is SourceKind.LIVE
    asked, newest_ns = draw(exercise.kinds(live)), 0

    def on_frame(frame: Frame) -> None:
        nonlocal newest_ns
        newest_ns = frame.timestamp_ns

    def ask(challenge: Challenge) -> None:
        """A person reads it now; a recording is told the times at which a screen would have shown it."""
        if live:
            ask_payer(challenge.kind)
        at_ns = time.monotonic_ns() if live else newest_ns
        for index in range(max(len(challenge.colours), 1)):
            challenger.shown(challenge, index, at_ns + index * challenge.step_ms * 1_000_000)

    challenger = Challenger(ask, kinds=(asked.kind,), always=False, same_person=rules.same_person)

    def then(found: LookResult, template: Any, watch: Watch) -> LookResult:
        try:
            challenger.examine(asked, template, watch, None if live else math.inf)
        finally:
            if template is not None:
                template.fill(0.0)
        return found

    result = look_at(source, base.vision(), rules, on_frame=on_frame, then=then)
    return result, challenger.answered[-1] if challenger.answered else None


def described(result: LookResult, source: str) -> dict[str, Any]:
    """The look as JSON. `liveness` is live, attack, unsure or no_face (so are two faces)."""
    from kiosk.domain.decision import LookOutcome

    outcome = LookOutcome.NO_FACE if result.outcome is LookOutcome.TWO_FACES else result.outcome
    return {
        "liveness": str(outcome),
        "score": result.liveness,
        "two_faces": result.outcome is LookOutcome.TWO_FACES,
        "hint": str(result.hint) if result.hint else None,
        "quality": asdict(result.quality) if result.quality else None,
        "pose": asdict(result.pose) if result.pose else None,
        "motion": str(result.motion),
        "source": source,
        "frames_seen": result.frames_seen,
        "frames_used": result.frames_used,
        "timings_ms": {stage: round(taken, 3) for stage, taken in result.timings_ms.items()},
        "llr": result.llr,
        "cues": {
            str(cue.name): {"reading": str(cue.reading), "value": cue.value, "llr": cue.llr}
            for cue in result.cues
        },
        "challengeable": result.challengeable,
        "challenge": None,
    }


def _say(seen: dict[str, Any]) -> None:
    score = "" if seen["score"] is None else f", score {seen['score']:.3f}"
    say(
        f"{seen['liveness'].replace('_', ' ')}{score} ({seen['frames_used']} of {seen['frames_seen']} frames)"
    )
    if seen["liveness"] == "no_face" and seen["frames_used"]:
        say("too few good frames for a decision: a recording or a camera takes three")
    if seen["two_faces"]:
        say("two people stand before the camera")
    if seen["challenge"]:
        asked = seen["challenge"]
        say(f"{asked['kind'].replace('_', ' ')}: {asked['outcome']}")
    if seen["hint"]:
        say(f"hint: {seen['hint'].replace('_', ' ')}")
    if seen["quality"] and seen["pose"]:
        quality, pose = seen["quality"], seen["pose"]
        say(
            f"face {quality['face_px']:.0f} px wide, eyes {quality['eyes_px']:.0f} px apart, "
            f"sharpness {quality['sharpness']:.2f}, brightness {quality['brightness']:.0f}, "
            f"yaw {pose['yaw']:+.0f}, pitch {pose['pitch']:+.0f}, roll {pose['roll']:+.0f} degrees"
        )
    if seen["timings_ms"]:
        say("ms: " + ", ".join(f"{stage} {taken:.1f}" for stage, taken in seen["timings_ms"].items()))
