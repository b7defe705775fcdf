"""How much may be paid by face: the acquirer's ceiling, the merchant's setting under it, the shopper's own.

    acquirer's ceiling (signed)  >=  merchant's setting  >=  shopper's own limit

A lower layer can only lower: `effective` takes the smaller number of each kind, so a merchant's file that
names more than the ceiling has no effect. An amount *at* a limit is allowed; above it, it is not.
Days are the caller's business (the store's time zone): `Spent` holds what was already approved today.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from kiosk.domain.money import MAX_MINOR, Money

__all__ = [
    "Allowed",
    "LimitKind",
    "Limits",
    "NeedPin",
    "OfflineCaps",
    "OverLimit",
    "PinKey",
    "Policy",
    "Spent",
    "Verdict",
    "check",
    "effective",
]


class LimitKind(StrEnum):
    """Which cap an amount ran into."""

    PER_PAYMENT = "per_payment"
    PER_PERSON_DAY = "per_person_day"
    PER_KIOSK_DAY = "per_kiosk_day"


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps in minor units of the policy's currency. None: this layer sets no cap of that kind.

    `pin_above`: amounts above it need the wallet PIN.
    """

    per_payment: int | None = None
    per_person_day: int | None = None
    per_kiosk_day: int | None = None
    pin_above: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and (type(value) is not int or not 0 <= value <= MAX_MINOR):
                raise ValueError(f"limit {field.name} is {value!r}: whole minor units in 0..{MAX_MINOR}")


@dataclass(frozen=True, slots=True)
class OfflineCaps:
    """How much this kiosk may accept while the acquirer can't be reached, all signed by it.

    `per_payment` and `total` in minor units; `count` sales and their `total` wait at most; the oldest of them
    waits at most `age_s` seconds before no more are taken.
    """

    per_payment: int
    count: int
    total: int
    age_s: int


@dataclass(frozen=True, slots=True)
class PinKey:
    """The acquirer's public key that PINs are encrypted to: its id, SubjectPublicKeyInfo in DER (P-256)."""

    kid: str
    der: bytes


@dataclass(frozen=True, slots=True)
class Policy:
    """What the acquirer signs and the merchant cannot raise.

    `expires_s` is seconds since 1970 (UTC): after it no payment by face is taken. `licence` is the provider's
    licence id: it stands on the confirm page. `two_factors_above`: the law of the place asks for two
    independent factors (face and PIN) above so much, minor units; 0: everywhere; None: nowhere. `offline`:
    None, nothing is accepted without the acquirer. `pin_key`: None, no PIN can be taken.
    """

    version: int
    expires_s: int
    currency: str
    provider: str
    licence: str
    face_allowed: bool
    ceiling: Limits
    two_factors_above: int | None = None
    offline: OfflineCaps | None = None
    pin_key: PinKey | None = None

    def __post_init__(self) -> None:
        if self.ceiling.per_payment is None:
            raise ValueError("a policy names a cap for every payment (per_payment)")


@dataclass(frozen=True, slots=True)
class Spent:
    """Approved or still open today, in minor units: by this payer, and at this kiosk."""

    by_person: int = 0
    by_kiosk: int = 0


@dataclass(frozen=True, slots=True)
class Allowed:
    """The amount is inside every cap."""


@dataclass(frozen=True, slots=True)
class NeedPin:
    """Inside every cap, but above the amount that a look alone may pay."""

    above: Money


@dataclass(frozen=True, slots=True)
class OverLimit:
    """Above the cap of `kind`; `limit` is that cap."""

    kind: LimitKind
    limit: Money


Verdict = Allowed | NeedPin | OverLimit


def effective(*layers: Limits) -> Limits:
    """The smallest cap of each kind over all `layers`; None only where no layer names one."""

    def smallest(name: str) -> int | None:
        named = [value for layer in layers if (value := getattr(layer, name)) is not None]
        return min(named, default=None)

    return Limits(**{field.name: smallest(field.name) for field in fields(Limits)})


def check(amount: Money, spent: Spent, *layers: Limits) -> Verdict:
    """Judge `amount` against all `layers` (ceiling first, by convention; the order does not matter)."""
    limits = effective(*layers)
    totals = (
        (LimitKind.PER_PAYMENT, limits.per_payment, amount.minor),
        (LimitKind.PER_PERSON_DAY, limits.per_person_day, spent.by_person + amount.minor),
        (LimitKind.PER_KIOSK_DAY, limits.per_kiosk_day, spent.by_kiosk + amount.minor),
    )
    for kind, cap, total in totals:
        if cap is not None and total > cap:
            return OverLimit(kind, Money(cap, amount.currency))
    if limits.pin_above is not None and amount.minor > limits.pin_above:
        return NeedPin(Money(limits.pin_above, amount.currency))
    return Allowed()
