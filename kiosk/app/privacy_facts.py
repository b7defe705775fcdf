"""What is true of this kiosk now, as far as it concerns people's data: the ground of every report and sign.

Read from the live configuration, the policy in force, the networks and the gallery; nothing is changed, and
nobody is named. What can't be read is a gap that the report shows, never a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar
from zoneinfo import ZoneInfo

from kiosk import __version__
from kiosk.app.limits import cap_said
from kiosk.app.memory import exposure
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits, Policy, effective
from kiosk.domain.money import Money
from kiosk.gallery.change import Source
from kiosk.gallery.template import PayerRecord
from kiosk.vision.models import Role, thresholds_of, uncleared

if TYPE_CHECKING:
    from kiosk.app.wiring import Base

__all__ = ["Enrolled", "Facts", "Network", "facts_of"]

T = TypeVar("T")
UNKNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class Network:
    """One network that looks at faces here; `cleared`: it may be used for money."""

    role: str
    id: str
    licence: str
    trained_on: str
    cleared: bool


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Who is enrolled, as numbers. Days are the store's; None where there is nobody, or no end."""

    people: int = 0
    references: int = 0
    here: int = 0
    by_guardian: int = 0
    without_end: int = 0
    first: datetime | None = None
    next_end: datetime | None = None
    texts: tuple[tuple[str, int], ...] = ()
    neighbours: int = 0
    version: int = 0
    epoch: str = ""
    fresh_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """The kiosk at `made_at`; empty texts where nothing is set, `gaps` where something can't be read."""

    made_at: datetime
    software: str
    mode: str
    controller: str
    contact: str
    terminal: str
    provider: str
    licence: str
    policy: str
    face_allowed: bool
    law_note: str
    two_factors_above: str
    limits: tuple[tuple[str, str], ...]
    offline: bool
    enrolled: Enrolled
    warn_at: int
    networks: tuple[Network, ...]
    match: float
    challenge: str
    camera: str
    key: str
    is_hardware: bool
    line: str
    is_encrypted: bool
    memory: tuple[str, ...]
    audit: str
    gaps: tuple[str, ...]


def facts_of(base: Base) -> Facts:
    """All of it. OperatorError only for a configuration or networks that can't be read."""
    config, gaps = base.config, []

    def read(what: str, how: Callable[[], T], otherwise: T) -> T:
        try:
            return how()
        except OperatorError as error:
            gaps.append(f"{what}: {error}")
            return otherwise

    policy = read("policy", lambda: base.stored_policy() if base.has_acquirer else None, None)
    address = read("acquirer", lambda: base.trust.base_url if base.has_acquirer else "", "")
    key, is_hardware = read("key", lambda: (_key(base), base.key.key_class == "hardware"), (UNKNOWN, False))
    unclear = {card.id for card in uncleared(base.manifest, config.models.accept_without_leave)}
    zone = ZoneInfo(config.store.timezone)
    return Facts(
        made_at=datetime.fromtimestamp(base.clock.utc_s(), zone),
        software=f"facepay-kiosk {__version__}",
        mode=config.mode,
        controller=config.privacy.controller or config.store.payee,
        contact=config.privacy.contact,
        terminal=f"{config.store.store_id} {config.store.terminal_id}",
        provider=policy.provider if policy else "",
        licence=policy.licence if policy else "",
        policy=f"version {policy.version}, until {_day(policy.expires_s)}" if policy else "",
        face_allowed=policy is None or policy.face_allowed,
        law_note=policy.law_note if policy else "",
        two_factors_above=_above(policy),
        limits=read("limits", lambda: _limits(base, policy), ()),
        offline=config.offline.enabled,
        enrolled=read("gallery", lambda: _enrolled(base, zone), Enrolled()),
        warn_at=base.config.gallery.warn_at_references,
        networks=tuple(
            Network(str(card.role), card.id, card.licence, card.trained_on, card.id not in unclear)
            for card in base.manifest.models
        ),
        match=thresholds_of(base.manifest.card(Role.EMBEDDING)).match,
        challenge=config.vision.challenge,
        camera=config.camera.source,
        key=key,
        is_hardware=is_hardware,
        line=_line(base, address) if address else "",
        is_encrypted=address.startswith("https:"),
        memory=tuple(exposure()),
        audit=read("audit trail", lambda: _audit(base), UNKNOWN),
        gaps=tuple(gaps),
    )


def _enrolled(base: Base, zone: ZoneInfo) -> Enrolled:
    records, status = base.gallery.records(), base.enrolled.store.status()
    ends = [record.keep_until_s for record in records if record.keep_until_s is not None]

    def day(at_s: float | None) -> datetime | None:
        return None if at_s is None else datetime.fromtimestamp(at_s, zone)

    return Enrolled(
        people=len(records),
        references=sum(len(record.references) for record in records),
        here=sum(segment.people for segment in status.of(Source.OWN)) if status else 0,
        by_guardian=sum(record.by_guardian for record in records),
        without_end=len(records) - len(ends),
        first=day(min((record.enrolled_at_s for record in records), default=None)),
        next_end=day(min(ends, default=None)),
        texts=tuple(sorted(Counter(map(_text, records)).items())),
        neighbours=len(base.gallery.neighbours),
        version=base.gallery.version,
        epoch=f"{status.epoch.region} {status.epoch.number}" if status else "",
        fresh_at=day(status.fresh_at_s) if status else None,
    )


def _text(record: PayerRecord) -> str:
    return record.consent_text or f"reference {record.consent_ref}"


def _limits(base: Base, policy: Policy | None) -> tuple[tuple[str, str], ...]:
    merchant = base.limits.in_force()
    limits = merchant if policy is None else effective(policy.ceiling, policy.law, merchant)
    currency = policy.currency if policy else base.config.store.currency
    named = ((cap.name, getattr(limits, cap.name)) for cap in fields(Limits))
    return tuple((name, cap_said(name, value, currency)) for name, value in named if value is not None)


def _above(policy: Policy | None) -> str:
    if policy is None or policy.two_factors_above is None:
        return ""
    return str(Money(policy.two_factors_above, policy.currency))


def _key(base: Base) -> str:
    key = base.key
    return f"{key.key_id}, class {key.key_class}, kept {'on a token' if base.ring else 'in a file'}"


def _line(base: Base, address: str) -> str:
    if not address.startswith("https:"):
        return f"{address}, not encrypted"
    return f"{address}, TLS 1.3, {'pinned' if base.trust.tls else 'any public authority'}"


def _audit(base: Base) -> str:
    trail = base.audit.trail()
    return f"{len(trail.hashes)} lines, last hash {trail.head}"


def _day(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"
