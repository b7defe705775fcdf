"""The trainer's modules are scripts beside each other, not part of the package: tests find them by path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "pad"))
