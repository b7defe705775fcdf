"""What is held of one person, for them: here and at the acquirer, in plain fields.

Facts, never values: a template is told by its network, its number and how it lies on the disk; the digits
that a payer types are a second factor: that they were given is told, and not which. Reading changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kiosk.acquirer.journal import Journal
from kiosk.acquirer.operations import ConsentMessage, PayerAnswer, payer_request
from kiosk.app.membership import asked_of_acquirer
from kiosk.domain.errors import OperatorError
from kiosk.files import is_there
from kiosk.gallery.template import TEMPLATE_SIZE

if TYPE_CHECKING:
    from kiosk.acquirer.journal_entries import PaymentEntry
    from kiosk.app.wiring import Base
    from kiosk.gallery.template import PayerRecord

__all__ = ["export"]

NOTES = (
    "No picture, video or name is kept. A template is never exported: it is what you are recognised by.",
    "Payments stay in the journal after a withdrawal, as long as bookkeeping law asks for; no face is in it.",
)


def export(base: Base, token: str) -> dict[str, Any]:
    """Everything under `token`. The acquirer's `answered` is false where it can't be asked, with `why`."""
    record = base.gallery.payer(token)
    payments = _payments(base, token)
    return {
        "payer": token,
        "made_at": _time(base.clock.utc_s()),
        "kiosk": {
            "shop": base.config.store.payee,
            "terminal": base.config.store.terminal_id,
            "enrolled": record is not None,
            "record": None if record is None else _record(base, record),
            "payments": [_payment(one) for one in payments],
            "audit_entries": _audited(base, token),
            "withdrawal_waits": token in base.withdrawals.tokens(),
        },
        "acquirer": _acquirer(base, token),
        "notes": list(NOTES),
    }


def _record(base: Base, record: PayerRecord) -> dict[str, Any]:
    limits, currency = record.limits, base.config.store.currency
    return {
        "masked_name": record.masked_name,
        "masked_account": record.masked_account,
        "digits": "given; not shown, they are a second factor" if record.digits else "not given",
        "limit_per_payment_minor": limits.per_payment,
        "limit_per_day_minor": limits.per_person_day,
        "currency": currency,
        "enrolled_at": _time(record.enrolled_at_s),
        "consent": {
            "ref": record.consent_ref,
            "text": record.consent_text or None,
            "by_guardian": record.by_guardian,
            "keep_until": None if record.keep_until_s is None else _time(record.keep_until_s),
        },
        "template": {
            "network": record.model_id,
            "references": len(record.references),
            "numbers_each": TEMPLATE_SIZE,
            "stored": "turned by a secret of the gallery's epoch, and encrypted (ChaCha20-Poly1305)",
        },
        "always_second_factor": record.token in base.gallery.neighbours,
    }


def _payments(base: Base, token: str) -> list[PaymentEntry]:
    path = base.data_dir / "journal.sqlite"
    if not is_there(path):
        return []
    with Journal(path, read_only=True) as journal:
        return journal.payments_of(token)


def _payment(entry: PaymentEntry) -> dict[str, Any]:
    return {
        "at": _time(entry.at),
        "ref": entry.ref,
        "order": entry.order.order_ref,
        "amount": entry.order.amount.decimal(),
        "currency": entry.order.amount.currency,
        "result": None if entry.answer is None else str(entry.answer.result),
        "offline": entry.offline,
    }


def _audited(base: Base, token: str) -> list[dict[str, Any]]:
    """What the trail says under this payer's mark: when, and what was done. One that is broken is told."""
    mark = base.audit.payer_mark(token)
    try:
        entries = base.audit.entries()
    except OperatorError as error:
        base.warn(f"the audit trail is left out: {error}")
        entries = []
    return [
        {"at": _time(entry.at.timestamp()), "what": entry.what}
        for entry in entries
        if entry.values.get("payer") == mark
    ]


def _acquirer(base: Base, token: str) -> dict[str, Any]:
    if not base.has_acquirer:
        return {"answered": False, "why": "no acquirer is set up here"}
    try:
        told, why = asked_of_acquirer(base.client().send(payer_request(token)))
    except OperatorError as error:
        return {"answered": False, "why": str(error)}
    if told is None:
        return {"answered": why == "not_found", "why": why, "held": []}
    return {"answered": True, "why": "", **_told(told)}


def _told(told: PayerAnswer) -> dict[str, Any]:
    return {
        "state": told.state,
        "held": list(told.held),
        "masked_name": told.masked_name,
        "masked_account": told.masked_account,
        "consent_ref": told.consent_ref or None,
        "enrolled_at": told.enrolled_at and _time(told.enrolled_at.timestamp()),
        "withdrawn_at": told.withdrawn_at and _time(told.withdrawn_at.timestamp()),
        "consent": told.consent and _consent(told.consent),
    }


def _consent(given: ConsentMessage) -> dict[str, Any]:
    return {
        "text": f"{given.text_version}/{given.language}",
        "text_sha256": given.text_sha256,
        "scope": list(given.scope),
        "given_at": _time(given.given_at.timestamp()),
        "keep_until": _time(given.keep_until.timestamp()),
        "of_age": given.of_age,
        "by_guardian": given.guardian is not None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
