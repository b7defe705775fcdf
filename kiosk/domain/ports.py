"""The ports of a payment: what the domain needs and does not know how to do.

Each is implemented in `devices` or `acquirer`, and by simulators; `tests/contracts/` holds all to it.
"""

from __future__ import annotations

from typing import Literal, Protocol

from kiosk.domain.payment import Answer, Order, Result

__all__ = ["Clock", "KeyPort", "Mode", "TillLink"]

Mode = Literal["demo", "test", "training", "production"]
"""Set once; inside every signed request. The only switch that loosens anything (`architecture.md`, Modes)."""


class KeyPort(Protocol):
    """The kiosk's own key: P-256, made on the device, never exported.

    `key_class` is `"dev"` for a software key (the acquirer may refuse it) and `"hardware"` for a token.
    """

    @property
    def key_id(self) -> str: ...

    @property
    def key_class(self) -> Literal["dev", "hardware"]: ...

    def public_key_der(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 over SHA-256 of `message`; r || s, 64 bytes (RFC 9421, 3.3.4)."""
        ...

    def derive(self, purpose: str) -> bytes:
        """32 secret bytes for sealing local data, another for each `purpose`, the same after a restart."""
        ...

    def check(self) -> None:
        """OperatorError when the key can't sign now (its token is away or locked); cheap."""
        ...


class Clock(Protocol):
    """Time: one clock that never goes back for waiting, one wall clock for what is written down."""

    def monotonic_ms(self) -> int: ...

    def utc_s(self) -> float:
        """Seconds since 1970, UTC."""
        ...


class TillLink(Protocol):
    """The till that opened an order and wants to know its end.

    Every order that it offers ends in one of these calls, or with staff at the kiosk. An end may be told
    again, after a restart too: an attempt is known by its `ref`.
    """

    def concluded(self, order: Order, ref: str, result: Result, answer: Answer) -> None:
        """The attempt `ref` to pay the order is final."""
        ...

    def handed_back(self, order: Order) -> None:
        """Nothing was charged and nothing is under way: the order is the till's again.

        The shopper pays another way or left, or the kiosk is busy with another order.
        """
        ...

    def not_to_be_paid(self, order: Order) -> None:
        """The order is paid, or an attempt to pay it is not final: no way to pay may take it now.

        `concluded` told its end, or will.
        """
        ...
