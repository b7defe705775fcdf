"""Puts the checkout on Python's path: the trainer uses the kiosk's own detector, crops and recaptures."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["ROOT"]

ROOT = Path(__file__).resolve().parents[2]
"""The top of the checkout."""

sys.path.insert(0, str(ROOT))
