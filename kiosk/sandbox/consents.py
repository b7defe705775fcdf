"""Consents at the acquirer: which are taken, and that none holds a day longer than was agreed.

What lies in the books is believed (it was checked when it came); whoever's consent has ended is treated as
withdrawn by whatever call comes upon it first.
"""

from __future__ import annotations

from pathlib import Path

from kiosk.acquirer.messages import Code, parse
from kiosk.acquirer.operations import ConsentMessage
from kiosk.assets import assets_dir
from kiosk.consent_texts import ConsentTexts
from kiosk.domain.consent import MOST_KEEP_DAYS, has_ended
from kiosk.sandbox.ledger import Ledger, Person

__all__ = ["end_if_over", "given_to", "refusal"]

CLOCKS_S = 300
"""How far a kiosk's clock may be ahead of this one's."""


def refusal(consent: ConsentMessage, folder: Path, now_s: float) -> Code:
    """Why nobody is enrolled on `consent`, as a code; empty when it holds.

    The text has to be one that this acquirer publishes (the folder `consent` of `folder`) or that ships, byte
    for byte.
    """
    given, until = consent.given_at.timestamp(), consent.keep_until.timestamp()
    if not consent.of_age and consent.guardian is None:
        return "under_age"
    if "pay" not in consent.scope:
        return "not_for_payments"
    if has_ended(int(until), now_s):
        return "consent_over"
    if given > now_s + CLOCKS_S or until > given + MOST_KEEP_DAYS * 86_400:
        return "consent_times"
    texts = ConsentTexts([folder / "consent", assets_dir() / "consent"])
    text = texts.find(consent.text_version, consent.language)
    return "" if text is not None and text.sha256 == consent.text_sha256 else "unknown_text"


def given_to(person: Person) -> ConsentMessage | None:
    """The consent as it was given; None for somebody who only has an account."""
    return parse(person.consent, ConsentMessage) if person.consent else None


def end_if_over(ledger: Ledger, person: Person, now_s: float) -> bool:
    """Withdraw somebody whose consent has ended by itself, inside a `transaction`; whether they are gone."""
    if person.withdrawn_at is not None:
        return True
    consent = given_to(person)
    if consent is None or not has_ended(int(consent.keep_until.timestamp()), now_s):
        return False
    ledger.withdraw(person.token, now_s)
    return True
