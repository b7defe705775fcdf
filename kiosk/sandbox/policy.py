"""What the sandbox signs: its caps, the law of the place, and a licence by a scheme root of its own.

`policy.json` in its folder sets the terms and is read at each call; without it the defaults below hold. The
scheme's root (`scheme.key`) is another key than the acquirer's; `scheme.json` is what a kiosk pins of it. A
sandbox's licence is of class sandbox: no kiosk in production believes it, whatever it pins.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from kiosk.acquirer.licence import FACE_PAYMENT, LICENCE_TYP, key_digest
from kiosk.acquirer.messages import (
    CeilingTerms,
    Label,
    LicenceTerms,
    Message,
    Minor,
    Name,
    OfflineTerms,
    PinKeyTerms,
    PolicyTerms,
    Text,
    encode,
)
from kiosk.acquirer.policy import POLICY_TYP
from kiosk.acquirer.signing import sign_jws
from kiosk.domain.money import CURRENCIES
from kiosk.domain.ports import Clock
from kiosk.sandbox.files import read_json, write
from kiosk.sandbox.keys import OwnKey
from kiosk.sandbox.ledger import Ledger

__all__ = ["Policies", "Terms", "day_begins", "publish_scheme"]

DAY_S: Final = 86_400
HOUR_S: Final = 3_600


Lifetime = Annotated[int, Meta(ge=0, le=3_650 * DAY_S)]
"""0: it has expired, for whoever wants to see what a kiosk makes of that."""


class Terms(Message, frozen=True, kw_only=True):
    """`policy.json`: every key may be left out. Amounts are minor units of `currency`.

    `face_allowed`, `law_note` (one line for the public that says why not) and `two_factors_above` (face and
    PIN above so much; 0: always) are the law of the place; `timezone` (IANA) says when a day of caps ends.
    `licence` is the licence's id, good for `licence_lifetime_s` from the last full hour on; a policy is good
    for `lifetime_s`. `offline`: the four caps on sales without the acquirer; null: none are taken.
    """

    currency: str = "CNY"
    provider: Label = "Sandbox Acquirer"
    licence: Name = "SANDBOX-0000"
    licence_lifetime_s: Lifetime = 365 * DAY_S
    face_allowed: bool = True
    law_note: Text = ""
    two_factors_above: Minor | None = None
    offline: OfflineTerms | None = None
    timezone: str = "Asia/Shanghai"
    lifetime_s: Lifetime = DAY_S
    ceiling: CeilingTerms = CeilingTerms(
        per_payment=100_000,
        per_person_day=300_000,
        per_kiosk_day=10_000_000,
        pin_above=50_000,
        per_person_hour_count=30,
    )

    def __post_init__(self) -> None:
        if self.currency not in CURRENCIES:
            raise ValueError(f"unknown currency {self.currency!r}")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"timezone {self.timezone!r} is none: Asia/Shanghai is one") from None


class Policies:
    """The terms in force and the policy that says so; `folder` holds policy.json and scheme.key."""

    def __init__(self, ledger: Ledger, policy_key: OwnKey, folder: Path, clock: Clock) -> None:
        self._ledger, self._key, self._folder, self._clock = ledger, policy_key, folder, clock

    @cached_property
    def _scheme_key(self) -> OwnKey:
        return _scheme_key(self._folder)

    def terms(self) -> Terms:
        """Of `policy.json` as it is now. BadFile when it can't be used."""
        return read_json(self._folder / "policy.json", Terms) or Terms()

    def issue(self, pin_key: PinKeyTerms | None) -> bytes:
        """The policy in force as a JWS: a new version when the terms changed or half its time is over."""
        terms, now = self.terms(), self._clock.utc_s()
        wording = encode(terms)
        version, issued, expires_s = self._ledger.policy()
        if issued != wording or expires_s - now < terms.lifetime_s / 2:
            version, expires_s = version + 1, int(now) + terms.lifetime_s
            with self._ledger.transaction():
                self._ledger.issue(version, wording, expires_s)
        payload = PolicyTerms(
            version=version,
            expires=datetime.fromtimestamp(expires_s, UTC),
            currency=terms.currency,
            provider=terms.provider,
            licence=self._licence(terms, now),
            face_allowed=terms.face_allowed,
            law_note=terms.law_note,
            ceiling=terms.ceiling,
            two_factors_above=terms.two_factors_above,
            offline=terms.offline,
            pin_key=pin_key,
        )
        return sign_jws(self._key, POLICY_TYP, encode(payload))

    def _licence(self, terms: Terms, now: float) -> str:
        """The same content for an hour; in force since the hour before, for kiosks that are behind."""
        hour = int(now - now % HOUR_S)
        licence = LicenceTerms(
            licence=terms.licence,
            licence_class="sandbox",
            provider=terms.provider,
            services=(FACE_PAYMENT,),
            policy_keys=(key_digest(self._key.public_der),),
            not_before=datetime.fromtimestamp(hour - HOUR_S, UTC),
            expires=datetime.fromtimestamp(hour + terms.licence_lifetime_s, UTC),
        )
        return sign_jws(self._scheme_key, LICENCE_TYP, encode(licence)).decode()


def publish_scheme(folder: Path) -> None:
    """`scheme.json`: the root that a kiosk of this sandbox pins, apart from the acquirer's keys."""
    root = _scheme_key(folder)
    scheme = {"roots": {root.key_id: root.public_der}}
    write(folder / "scheme.json", msgspec.json.format(msgspec.json.encode(scheme)))


def day_begins(terms: Terms, now_s: float) -> float:
    """When the store's day of `now_s` began, seconds since 1970, UTC."""
    day = datetime.fromtimestamp(now_s, ZoneInfo(terms.timezone)).date()
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(terms.timezone)).timestamp()


def _scheme_key(folder: Path) -> OwnKey:
    return OwnKey(folder / "scheme.key", "scheme")
