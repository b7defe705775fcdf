"""The key that till and kiosk share: 32 random bytes, kept as 64 hex digits in a file of mode 0600.

It authenticates, it does not encrypt: who has it can ask for payments, which a shopper at the kiosk still has
to confirm, and can read nothing that the wire does not show anyway.
"""

from __future__ import annotations

import re
import secrets
import stat
from pathlib import Path
from typing import Final

from kiosk.domain.errors import OperatorError
from kiosk.till.channel import KEY_BYTES

__all__ = ["KEY_NAME", "new_key", "read_key"]

KEY_NAME: Final = "till.key"
"""Its place in the data folder."""
_HEX: Final = re.compile(rb"([0-9a-f]{%d})\n?" % (2 * KEY_BYTES))


def new_key() -> bytes:
    """The content of a new key's file."""
    return secrets.token_hex(KEY_BYTES).encode() + b"\n"


def read_key(path: Path) -> bytes:
    """The 32 bytes of the key in `path`.

    Raises:
        OperatorError: not there, readable by others, or not a key. What it holds is never in the message.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(256)
    except OSError as error:
        raise OperatorError(
            f"the till's key can't be read ({error.strerror})", where=str(path), do="Run `kiosk till key`."
        ) from None
    if mode & 0o077:
        raise OperatorError(
            f"the till's key is open to others (mode {mode:04o})", where=str(path), do=f"chmod 600 {path}"
        )
    found = _HEX.fullmatch(content)
    if found is None:
        raise OperatorError(
            "not a till's key (64 hex digits)", where=str(path), do="Make one with `kiosk till key`."
        )
    return bytes.fromhex(found[1].decode())
