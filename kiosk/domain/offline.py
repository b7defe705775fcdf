"""May this sale be accepted although the acquirer can't be reached? One pure answer, no by default.

The acquirer signs four caps: the amount of one sale, how many may wait to be forwarded, their sum, and how
long the oldest of them may wait. The merchant can lower each or leave it all off, and can raise none. Only
somebody whom the acquirer itself approved here before is believed, and never where a PIN is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kiosk.domain.limits import OfflineCaps, Policy
from kiosk.domain.money import Money

__all__ = ["Doubt", "OfflineSetting", "Sale", "Waiting", "caps_in_force", "refusal"]


class Doubt(StrEnum):
    """Why a sale is not accepted offline."""

    SWITCHED_OFF = "switched_off"
    """The merchant did not switch it on."""
    NOT_SIGNED = "not_signed"
    """There is no policy, or one that allows no offline sales."""
    POLICY_EXPIRED = "policy_expired"
    FACE_NOT_ALLOWED = "face_not_allowed"
    CURRENCY = "currency"
    CLOCK = "clock"
    """The clock is before what the journal already holds: ages and days mean nothing."""
    PIN = "pin"
    """A PIN was given or is due: only the acquirer can check it."""
    PAYER = "payer"
    """The acquirer never approved this payer here, or its last word about them was no."""
    OVER_AMOUNT = "over_amount"
    OVER_COUNT = "over_count"
    OVER_TOTAL = "over_total"
    OVER_AGE = "over_age"


@dataclass(frozen=True, slots=True)
class OfflineSetting:
    """The merchant's own: off unless `enabled`; None: as the acquirer signed it. Units as `OfflineCaps`."""

    enabled: bool = False
    per_payment: int | None = None
    count: int | None = None
    total: int | None = None
    age_s: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Sales that were accepted and that the acquirer has not answered yet: how many, their sum in minor
    units, and when the oldest was accepted (seconds since 1970, UTC; None: there is none)."""

    count: int = 0
    minor: int = 0
    oldest_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sale:
    """One that could not be sent. `in_good_standing`: the acquirer's last word about this payer, at this
    kiosk, was an approval. `pin`: one was given, or the amount needs one."""

    amount: Money
    in_good_standing: bool
    pin: bool


def caps_in_force(signed: OfflineCaps, setting: OfflineSetting) -> OfflineCaps:
    """The smaller one of each kind: what the merchant names above the acquirer's has no effect."""

    def smaller(cap: int, own: int | None) -> int:
        return cap if own is None else min(cap, own)

    return OfflineCaps(
        per_payment=smaller(signed.per_payment, setting.per_payment),
        count=smaller(signed.count, setting.count),
        total=smaller(signed.total, setting.total),
        age_s=smaller(signed.age_s, setting.age_s),
    )


def refusal(
    sale: Sale,
    waiting: Waiting,
    *,
    policy: Policy | None,
    setting: OfflineSetting,
    now_s: float,
    latest_s: float,
) -> Doubt | None:
    """Why `sale` is not accepted; None when it may be.

    `now_s` is the clock, `latest_s` when the journal's newest attempt was written (both seconds since 1970,
    UTC). An amount *at* a cap is inside it.
    """
    if not setting.enabled:
        return Doubt.SWITCHED_OFF
    if policy is None or policy.offline is None:
        return Doubt.NOT_SIGNED
    caps = caps_in_force(policy.offline, setting)
    oldest_s = now_s if waiting.oldest_s is None else waiting.oldest_s
    doubts = (
        (Doubt.POLICY_EXPIRED, policy.expires_s <= now_s),
        (Doubt.FACE_NOT_ALLOWED, not policy.face_allowed),
        (Doubt.CURRENCY, policy.currency != sale.amount.currency),
        (Doubt.CLOCK, now_s < max(latest_s, oldest_s)),
        (Doubt.PIN, sale.pin),
        (Doubt.PAYER, not sale.in_good_standing),
        (Doubt.OVER_AMOUNT, sale.amount.minor > caps.per_payment),
        (Doubt.OVER_COUNT, waiting.count + 1 > caps.count),
        (Doubt.OVER_TOTAL, waiting.minor + sale.amount.minor > caps.total),
        (Doubt.OVER_AGE, now_s - oldest_s > caps.age_s),
    )
    return next((doubt for doubt, applies in doubts if applies), None)
