"""The two families of errors, split by whose fault it is.

    KioskError
    ├── OperatorError      the operator can mend it: bad config, missing device, bad file. Exit code 2.
    └── ProtocolError      the other side broke the contract: treated as hostile, never shown to a shopper.

A bug is neither: it crashes, the unit restarts, the journal recovers.
"""

from __future__ import annotations

__all__ = ["KioskError", "OperatorError", "ProtocolError"]


class KioskError(Exception):
    """Base of both families; never raised itself."""


class OperatorError(KioskError):
    """Something the operator can mend. The message is one line: what, where, what to do."""

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        super().__init__(": ".join(part for part in (where, what) if part) + (f". {do}" if do else ""))


class ProtocolError(KioskError):
    """The other side sent something the contract does not allow."""
