"""Where what ships beside the code is: networks, fonts, the demo's pictures. One answer for every room."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["assets_dir"]


def assets_dir() -> Path:
    """Where `models/`, `fonts/` and `demo/` are: $KIOSK_ASSETS, else in the wheel, else in the checkout."""
    named = os.environ.get("KIOSK_ASSETS")
    if named:
        return Path(named)
    package = Path(__file__).resolve().parent
    inside = package / "_assets"
    return inside if inside.is_dir() else package.parent / "assets"
