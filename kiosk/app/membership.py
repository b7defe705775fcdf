"""Somebody joins or leaves: nobody twice, nobody without a consent, and gone here at once when they ask.

Commands and screens call this with a consent that the flow gave (`domain.consent`) and a reference of three
looks. Whom the acquirer enrols but this kiosk can't keep is withdrawn there, by the outbox if need be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from kiosk.acquirer.client import Lost, Reply, Told, Unsent
from kiosk.acquirer.jwe import WISHES_TYP, seal
from kiosk.acquirer.messages import encode, new_ref, utc
from kiosk.acquirer.operations import (
    ConsentMessage,
    EnrolmentAnswer,
    GuardianMessage,
    PayerAnswer,
    WishesMessage,
    enrolment_request,
    withdrawal_request,
)
from kiosk.app.asking import ask, envelope, sealed_template
from kiosk.app.people import EnrolledPeople
from kiosk.domain.consent import Consent, has_ended
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import NO_LIMITS, Limits, PinKey
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.template import PayerRecord, Reference, Template

if TYPE_CHECKING:
    from kiosk.app.wiring import Base

__all__ = [
    "ALREADY_HERE",
    "Left",
    "Retention",
    "asked_of_acquirer",
    "check_allowed",
    "consent_message",
    "enrol_at_acquirer",
    "enrol_here",
    "is_enrolled_already",
    "sealing_key",
    "text_facts",
    "withdraw",
]

ALREADY_HERE: Final = (
    "this face is enrolled already, under another payer; nobody is enrolled twice. "
    "Withdraw that one first (`kiosk forget --payer TOKEN`), or, where it is somebody else who looks alike, "
    "pay another way and tell the provider"
)
"""What a duplicate is told. Not whose face it is: that is nobody's to know."""


# --- joining --------------------------------------------------------------------------------------------


def text_facts(base: Base, keep_days: int) -> dict[str, str]:
    """What is filled into the consent text here. OperatorError while no policy names the provider."""
    policy = base.stored_policy() if base.has_acquirer else None
    if policy is None:
        why = base.fetch_policy() if base.has_acquirer else "no acquirer is set up here"
        policy = None if why else base.stored_policy()
    if policy is None:
        raise OperatorError(f"who receives a template isn't known here: {why}", do="Try again with a policy.")
    return {
        "provider": policy.provider,
        "licence": policy.licence,
        "shop": base.config.store.payee,
        "days": str(keep_days),
    }


def consent_message(consent: Consent) -> ConsentMessage:
    """A consent in the acquirer's words."""
    guardian = consent.guardian
    return ConsentMessage(
        text_version=consent.text_version,
        text_sha256=consent.text_sha256,
        language=consent.language,
        scope=tuple(scope.value for scope in consent.scope),
        given_at=utc(consent.given_at_s),
        keep_until=utc(consent.keep_until_s),
        of_age=consent.of_age,
        guardian=None
        if guardian is None
        else GuardianMessage(declared_at=utc(guardian.declared_at_s), approved_by=guardian.approved_by),
    )


def check_allowed(base: Base) -> None:
    """OperatorError where the policy in force lets nobody pay by face: nobody is enrolled for nothing."""
    policy = base.stored_policy()
    if policy is not None and not policy.face_allowed:
        raise OperatorError(
            "payment by face is not allowed here, so nobody is enrolled",
            do=policy.law_note or "Ask the acquirer.",
        )


def is_enrolled_already(base: Base, reference: NDArray[np.float32], payer: str = "") -> bool:
    """Whether a payment would take this face for somebody other than `payer` who is enrolled here."""
    people = EnrolledPeople(base.gallery)
    thresholds = base.setting(None).thresholds
    needed = thresholds.match_among(people.searched(None))
    if needed is None:  # of so many nobody is taken by the face alone: the highest cosine that is known
        needed = thresholds.false_matches.cosines[-1]
    return any(
        candidate.token != payer and candidate.score >= needed for candidate in people.search(reference, None)
    )


def enrol_at_acquirer(
    base: Base,
    reference: NDArray[np.float32],
    consent: Consent,
    *,
    account: str,
    digits: str,
    limits: Limits = NO_LIMITS,
) -> tuple[EnrolmentAnswer | None, str]:
    """Ask the acquirer, and keep whom it enrolled; without an answer, why there is none."""
    ref, key = new_ref(base.clock), sealing_key(base)
    template, wishes = sealed_template(reference, ref, key), _wishes(digits, limits, ref, key)
    with base.journal() as journal:
        exchange = enrolment_request(
            base.terminal(), ref, consent=consent_message(consent), template=template,
            model_id=base.embedding_id(), account=account, wishes=wishes,
            **envelope(journal, base.clock, ZoneInfo(base.config.store.timezone)),
        )  # fmt: skip
    answer, why = ask(base.client(), exchange, EnrolmentAnswer)
    if answer is not None and answer.result == "enrolled":
        try:
            enrol_here(
                base,
                PayerRecord(
                    token=answer.token,
                    masked_name=answer.masked_name,
                    masked_account=answer.masked_account,
                    digits=digits,
                    consent_ref=answer.consent_ref,
                    enrolled_at_s=int(consent.given_at_s),
                    references=(Reference(Template(reference), base.embedding_id()),),
                    limits=limits,
                    keep_until_s=consent.keep_until_s,
                    consent_text=consent.text,
                    by_guardian=consent.guardian is not None,
                ),
            )
        except OperatorError:
            base.withdrawals.add(answer.token)
            raise
    return answer, why


def enrol_here(base: Base, record: PayerRecord) -> None:
    """Keep a payer in this kiosk's gallery; the audit trail has it first.

    OperatorError: it can't be kept, or the acquirer is still to be told that this payer withdrew.
    """
    if record.token in base.withdrawals.tokens():
        raise OperatorError(
            f"{record.token} has withdrawn, and the acquirer is still to be told",
            do="Run `kiosk resolve`, then enrol them anew: they get another token.",
        )
    base.audit.note(
        "enrol",
        at_s=base.clock.utc_s(),
        payer=record.token,
        consent=record.consent_ref,
        text=record.consent_text or None,
        keep_until=record.keep_until_s,
        guardian=int(record.by_guardian),
    )
    base.enrol(record)


def _wishes(digits: str, limits: Limits, ref: str, key: PinKey) -> str | None:
    """What somebody gave beside their face, for the acquirer alone; None: nothing."""
    if not digits and limits == NO_LIMITS:
        return None
    given = WishesMessage(digits=digits, per_payment=limits.per_payment, per_person_day=limits.per_person_day)
    return seal(encode(given), WISHES_TYP, ref, key)


def sealing_key(base: Base) -> PinKey:
    """The acquirer's key that templates are sealed for. OperatorError: its policy names none."""
    policy = base.stored_policy()
    if policy is None or policy.pin_key is None:
        raise OperatorError("the acquirer's policy names no key to seal a template for")
    return policy.pin_key


# --- leaving --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Left:
    """What a withdrawal found: `here`, whether somebody was enrolled; `at_acquirer`, whether it knew them.

    None: it has not confirmed it yet, and `why` says why; it is told as soon as it can be.
    """

    here: bool
    at_acquirer: bool | None
    why: str = ""


def withdraw(base: Base, token: str) -> Left:
    """Forget a payer here, at once, and have the acquirer do so.

    The withdrawal is on the disk before anything else: a cut after that is made good, here at the next start
    and at the acquirer by the outbox.
    """
    base.withdrawals.add(token)
    here = _forget(base, [token], "asked")
    if not base.has_acquirer:
        return Left(here, None, "no acquirer is set up here")
    try:
        told, why = asked_of_acquirer(base.client().send(withdrawal_request(token)))
    except OperatorError as error:
        return Left(here, None, str(error))
    if told is None and why != "not_found":
        return Left(here, None, why)
    base.withdrawals.done(token)
    return Left(here, told is not None)


def asked_of_acquirer(reply: Reply) -> tuple[PayerAnswer | None, str]:
    """The acquirer's word about a person, or why there is none (`not_found`: it holds nothing)."""
    match reply:
        case Told(PayerAnswer() as told):
            return told, ""
        case Lost(why, code):
            return None, code or why
        case Unsent(why):
            return None, why
    return None, "another answer than was asked for"


class Retention:
    """Nobody stays longer than they agreed to: put `tick` into `Kernel.on_tick`; it belongs to that thread.

    The first call also forgets whose withdrawal a power cut left half done. `changed` is called after each:
    the gallery may be another one then. What can't be deleted now is tried again; `failure` says why.
    """

    def __init__(self, base: Base, changed: Callable[[], None] = lambda: None) -> None:
        self.failure: OperatorError | None = None
        self._base, self._changed = base, changed
        self._is_first = True
        self._due: dict[str, str] = {}
        """Who is to go and why, until they are off the disk too: from memory they may be gone before that."""
        self._seen: tuple[Gallery, int] | None = None
        self._first_end_s: int | None = None

    def tick(self) -> None:
        """Forget who is due; reads the clock, and the gallery only when it has changed."""
        try:
            damaged = self._cut_short()
            self._due |= dict.fromkeys(self._over(self._base.gallery), "over")
            for why in ("asked", "over"):
                _forget(self._base, [token for token, reason in self._due.items() if reason == why], why)
            self._due = {}
            if damaged is not None:
                raise damaged
            self.failure = None
        except OperatorError as failure:
            if self.failure is None:
                self._base.warn(f"somebody who has to go can't be deleted yet: {failure}")
            self.failure = failure
        self._changed()

    def _cut_short(self) -> OperatorError | None:
        """Once, who asked to go before this start; why the list of them can't be read, where it can't."""
        if self._is_first:
            try:
                waiting = self._base.withdrawals.tokens()
            except OperatorError as damaged:  # whose consent is over goes all the same
                return damaged
            self._due = {token: "asked" for token in waiting if self._base.gallery.payer(token)}
            self._is_first = False
        return None

    def _over(self, gallery: Gallery) -> list[str]:
        if self._seen is None or self._seen[0] is not gallery or self._seen[1] != gallery.version:
            ends = [one.keep_until_s for one in gallery.records() if one.keep_until_s is not None]
            self._first_end_s = min(ends, default=None)
            self._seen = gallery, gallery.version
        now_s = self._base.clock.utc_s()
        if not has_ended(self._first_end_s, now_s):
            return []
        return [one.token for one in gallery.records() if has_ended(one.keep_until_s, now_s)]


def _forget(base: Base, tokens: Sequence[str], why: str) -> bool:
    """Delete payers here; a trail that can't be written holds up no deletion. Whether anybody was there."""
    known = {token for token in tokens if base.gallery.payer(token) is not None}
    for token in known:
        base.note("forget", payer=token, why=why)
    found = base.enrolled.forget_all(frozenset(tokens)) if tokens else frozenset[str]()
    for token in found - known:  # another process had enrolled them meanwhile
        base.note("forget", payer=token, why=why)
    return bool(known | found)
