"""What the tests of the acquirer link are made of: keys, a kiosk's identity, orders, frozen calls."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from kiosk.acquirer.messages import Exchange, Terminal, new_ref, payment_request, reversal_request
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.chain import GENESIS
from kiosk.domain.money import Money
from kiosk.domain.payment import Authorise, Evidence, Order, Payer

NUMBERS = itertools.count(1)
SEQUENCES: dict[str, int] = {}
"""One for each attempt: an acquirer refuses one that was used before."""
TERMINAL = Terminal("m-100", "s-1", "t-7", "test", "Corner Shop")


@dataclass
class Now:
    """The machine's time, or `shift_s` beside it."""

    shift_s: float = 0.0

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def utc_s(self) -> float:
        return time.time() + self.shift_s


def a_key() -> SoftwareKey:
    return SoftwareKey(ec.generate_private_key(ec.SECP256R1()), bytes(32))


def an_effect(
    order_ref: str = "", minor: int = 3850, token: str = "", currency: str = "CNY", ref: str = ""
) -> Authorise:
    number = next(NUMBERS)
    return Authorise(
        Order(order_ref or f"order-{number}", Money(minor, currency), "Corner Shop"),
        Payer(token or f"pyr-{number:08d}", "*ming", "*4821", "consent-1"),
        Evidence(("face",), 1, "high", "medium", "high", ("net-1", "net-2"), 3),
        ref or new_ref(Now()),
    )


def a_payment(
    effect: Authorise, sequence: int = 0, policy_version: int = 1, terminal: Terminal = TERMINAL
) -> Exchange:
    return payment_request(
        terminal,
        effect,
        sequence=sequence or SEQUENCES.setdefault(effect.ref, len(SEQUENCES) + 1_000),
        batch=1,
        created_utc=1_795_564_800.25,
        confirmed_at=1_795_564_799.0,
        policy_version=policy_version,
        previous=GENESIS,
    )


def a_reversal(effect: Authorise, sequence: int = 2) -> Exchange:
    return reversal_request(
        TERMINAL,
        effect.order,
        effect.ref,
        sequence=sequence,
        batch=1,
        created_utc=1_795_564_830.0,
        previous=GENESIS,
    )
