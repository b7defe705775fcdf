"""A text as a QR code: one grid of modules, drawn as SVG or PNG; for the screen, a printer and the desk.

Error correction M, byte mode, UTF-8, at most version 25: `kiosk.domain.receipt.MAX_QR_BYTES` is what fits.
"""

from __future__ import annotations

import io
from typing import Final

import segno

from kiosk.domain.receipt import MAX_QR_BYTES

__all__ = ["QUIET_MODULES", "modules", "png", "svg"]

QUIET_MODULES: Final = 4
"""The light margin around a code (ISO/IEC 18004, 5.3.8)."""
MODULE_PX: Final = 6


def modules(text: str) -> tuple[bytes, ...]:
    """The rows of the code with its margin, a byte a module: 1 is dark.

    Raises:
        ValueError: `text` has more than `MAX_QR_BYTES` bytes of UTF-8.
    """
    return tuple(bytes(row) for row in _made(text).matrix_iter(border=QUIET_MODULES))


def png(text: str, *, module_px: int = MODULE_PX) -> bytes:
    """A black and white PNG with its margin; errors as `modules`."""
    file = io.BytesIO()
    _made(text).save(file, kind="png", scale=module_px, border=QUIET_MODULES)
    return file.getvalue()


def svg(text: str) -> str:
    """An SVG drawing with its margin, one unit a module; errors as `modules`."""
    file = io.BytesIO()
    _made(text).save(file, kind="svg", border=QUIET_MODULES, light="white", xmldecl=False)
    return file.getvalue().decode()


def _made(text: str) -> segno.QRCode:
    length = len(text.encode())
    if length > MAX_QR_BYTES:
        raise ValueError(f"{length} bytes: a QR code that can be scanned carries {MAX_QR_BYTES}")
    return segno.make(text, error="m", mode="byte", encoding="utf-8", micro=False, boost_error=True)
