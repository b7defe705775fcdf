"""What every command shares: options for data and configuration, one-line errors, one way to print JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from kiosk.domain.challenge import ChallengeKind
from kiosk.domain.errors import OperatorError

__all__ = [
    "NAME",
    "Camera",
    "ConfigFile",
    "DataDir",
    "Json",
    "ask_payer",
    "check_token",
    "complain",
    "print_json",
    "say",
]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
"""What the protocol calls a name: payer tokens and consent references are such."""

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder that holds all state: key, journal, gallery. Default: $KIOSK_DATA_DIR or your own.",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration (TOML). Default: kiosk.toml in the data folder."),
]
Camera = Annotated[
    str,
    typer.Option(
        "--camera",
        metavar="SOURCE",
        help="Camera: 'pi', '/dev/video0'; in demo and test also a picture, a folder or a video file.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]


def check_token(token: str) -> None:
    """OperatorError for what can be no payer token."""
    if not NAME.fullmatch(token):
        raise OperatorError(
            f"payer token {token[:64]!r}",
            do="Use 1 to 64 letters, digits or . _ : - as the acquirer gave it.",
        )


def print_json(value: dict[str, Any]) -> None:
    """One JSON object, keys in their order, on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def say(line: str = "") -> None:
    """One line for a person, on stdout."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


REQUESTS: Final = {
    ChallengeKind.TURN_LEFT: "turn your head to the left",
    ChallengeKind.TURN_RIGHT: "turn your head to the right",
    ChallengeKind.BLINK: "blink with both eyes",
}
"""What can be asked without a screen: a terminal doesn't light a face."""


def ask_payer(kind: ChallengeKind) -> None:
    """One line for whoever stands before the camera, on stderr: stdout is for results."""
    sys.stderr.write(f"{REQUESTS[kind]}\n")
    sys.stderr.flush()


def complain(line: str) -> None:
    """One line about what is wrong, on stderr."""
    sys.stderr.write(f"kiosk: {line}\n")
