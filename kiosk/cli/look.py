"""`kiosk look`: one look at whoever stands before the camera; nobody has to be enrolled, nothing is paid."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kiosk.cli.common import Camera, ConfigFile, DataDir, Json, complain, print_json, say

if TYPE_CHECKING:
    from kiosk.vision.look import LookResult

__all__ = ["look"]


def look(camera: Camera, data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Look once: is this a living person, how good is the picture, and what would the payer be told.

    Nothing is kept. Exit code 0 whatever was seen, 2 for wrong use.

    Example: kiosk look --camera photo.jpg --json
    """
    from kiosk.app.look import look_at
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base, base.cameras.opened(camera) as source:
        result = look_at(source, base.vision(), base.look_rules())
        if result is None:
            return
        seen = described(result, str(source.info.kind))
    if json:
        print_json(seen)
    else:
        _say(seen)


def described(result: LookResult, source: str) -> dict[str, Any]:
    """The look as JSON. `liveness` is live, attack, unsure or no_face (so are two faces)."""
    from kiosk.domain.decision import LookOutcome

    outcome = LookOutcome.NO_FACE if result.outcome is LookOutcome.TWO_FACES else result.outcome
    return {
        "liveness": str(outcome),
        "score": result.liveness,
        "two_faces": result.outcome is LookOutcome.TWO_FACES,
        "hint": str(result.hint) if result.hint else None,
        "quality": {**asdict(result.quality), "score": result.quality.score} if result.quality else None,
        "pose": asdict(result.pose) if result.pose else None,
        "motion": str(result.motion),
        "source": source,
        "frames_seen": result.frames_seen,
        "frames_used": result.frames_used,
        "timings_ms": {stage: round(taken, 3) for stage, taken in result.timings_ms.items()},
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
    if seen["hint"]:
        say(f"hint: {seen['hint'].replace('_', ' ')}")
    if seen["quality"] and seen["pose"]:
        quality, pose = seen["quality"], seen["pose"]
        say(
            f"face {quality['face_px']:.0f} px wide, eyes {quality['eyes_px']:.0f} px apart, "
            f"sharpness {quality['sharpness']:.1f}, brightness {quality['brightness']:.0f}, "
            f"yaw {pose['yaw']:+.0f}, pitch {pose['pitch']:+.0f}, roll {pose['roll']:+.0f} degrees"
        )
    if seen["timings_ms"]:
        say("ms: " + ", ".join(f"{stage} {taken:.1f}" for stage, taken in seen["timings_ms"].items()))
