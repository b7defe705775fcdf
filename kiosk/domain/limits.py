"""How much may be paid by face: the acquirer's ceiling, the merchant's setting under it, the shopper's own.

    acquirer's ceiling (signed)  >=  merchant's setting  >=  shopper's own limit

A lower layer can only lower: `effective` takes the smaller number of each kind, so a merchant's file that
names more than the ceiling has no effect. The law of the place is one more such layer. A payment *at* a limit
is allowed; above it, it is not. Windows are the caller's business (the store's time zone, a clock that never
goes back): `Spent` holds what already counts in each.

Example: ceiling 1,000.00 a payment and 5 an hour, merchant 800.00, shopper 200.00: the sixth of an hour
is over `per_person_hour_count`, and one of 200.01 over `per_payment`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from kiosk.domain.money import MAX_MINOR, Money

__all__ = [
    "MAX_COUNT",
    "NO_LIMITS",
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

MAX_COUNT: Final = 1_000_000
"""The most payments that a cap counts: more than a kiosk can take in a day."""


class LimitKind(StrEnum):
    """Which cap a payment ran into; the value is the cap's name in `Limits`."""

    PER_PAYMENT = "per_payment"
    PER_PERSON_HOUR = "per_person_hour"
    PER_PERSON_DAY = "per_person_day"
    PER_KIOSK_DAY = "per_kiosk_day"
    PER_PERSON_HOUR_COUNT = "per_person_hour_count"
    PER_PERSON_DAY_COUNT = "per_person_day_count"
    PER_KIOSK_DAY_COUNT = "per_kiosk_day_count"

    @property
    def counts(self) -> bool:
        """Whether the cap is a number of payments, not an amount."""
        return self.value.endswith("_count")


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps in minor units of the policy's currency, those of a `_count` in payments; None: no such cap.

    An hour is any 60 minutes, a day the store's. `pin_above`: amounts above it need the wallet PIN.
    """

    per_payment: int | None = None
    per_person_day: int | None = None
    per_kiosk_day: int | None = None
    pin_above: int | None = None
    per_person_hour: int | None = None
    per_person_hour_count: int | None = None
    per_person_day_count: int | None = None
    per_kiosk_day_count: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value, is_count = getattr(self, field.name), field.name.endswith("_count")
            most = MAX_COUNT if is_count else MAX_MINOR
            if value is not None and (type(value) is not int or not 0 <= value <= most):
                unit = "payments" if is_count else "minor units"
                raise ValueError(f"limit {field.name} is {value!r}: whole {unit} in 0..{most}")


NO_LIMITS: Final = Limits()
"""A layer that lowers nothing."""


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
    licence id: it stands on the confirm page. The law of the place: `face_allowed`, whether faces may pay at
    all; `two_factors_above`, from which amount on (minor units; 0: every amount, None: none) it asks for two
    independent factors; `law_note`, one line for the public that says why. `offline`: None, nothing is
    accepted without the acquirer. `pin_key`: None, no PIN can be taken.
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
    law_note: str = ""

    def __post_init__(self) -> None:
        if self.ceiling.per_payment is None:
            raise ValueError("a policy names a cap for every payment (per_payment)")

    @property
    def law(self) -> Limits:
        """What the law of the place asks for, as a layer under the ceiling.

        The second factor is the PIN: digits narrow the search, but whoever knows the payer knows them.
        """
        return Limits(pin_above=self.two_factors_above)


@dataclass(frozen=True, slots=True)
class Spent:
    """What counts already: approved, accepted offline or still open; a refund gives nothing back.

    By this payer on the store's day and in the last 60 minutes, and at this kiosk on that day: minor units,
    and numbers of payments.
    """

    by_person: int = 0
    by_kiosk: int = 0
    by_person_hour: int = 0
    person_hour_count: int = 0
    person_day_count: int = 0
    kiosk_day_count: int = 0


@dataclass(frozen=True, slots=True)
class Allowed:
    """The amount is inside every cap."""


@dataclass(frozen=True, slots=True)
class NeedPin:
    """Inside every cap, but above the amount that a look alone may pay."""

    above: Money


@dataclass(frozen=True, slots=True)
class OverLimit:
    """Above the cap of `kind`; `limit` is that cap: an amount, or a number of payments (`kind.counts`)."""

    kind: LimitKind
    limit: Money | int


Verdict = Allowed | NeedPin | OverLimit


def effective(*layers: Limits) -> Limits:
    """The smallest cap of each kind over all `layers`; None only where no layer names one."""

    def smallest(name: str) -> int | None:
        named = [value for layer in layers if (value := getattr(layer, name)) is not None]
        return min(named, default=None)

    return Limits(**{field.name: smallest(field.name) for field in fields(Limits)})


def check(amount: Money, spent: Spent, *layers: Limits) -> Verdict:
    """Judge one more payment of `amount` against all `layers` (their order does not matter).

    The first cap that it is over, in the order of `LimitKind`, is the one that is said.
    """
    limits, minor = effective(*layers), amount.minor
    after = {
        LimitKind.PER_PAYMENT: minor,
        LimitKind.PER_PERSON_HOUR: spent.by_person_hour + minor,
        LimitKind.PER_PERSON_DAY: spent.by_person + minor,
        LimitKind.PER_KIOSK_DAY: spent.by_kiosk + minor,
        LimitKind.PER_PERSON_HOUR_COUNT: spent.person_hour_count + 1,
        LimitKind.PER_PERSON_DAY_COUNT: spent.person_day_count + 1,
        LimitKind.PER_KIOSK_DAY_COUNT: spent.kiosk_day_count + 1,
    }
    for kind, total in after.items():
        cap: int | None = getattr(limits, kind)
        if cap is not None and total > cap:
            return OverLimit(kind, cap if kind.counts else Money(cap, amount.currency))
    if limits.pin_above is not None and minor > limits.pin_above:
        return NeedPin(Money(limits.pin_above, amount.currency))
    return Allowed()
