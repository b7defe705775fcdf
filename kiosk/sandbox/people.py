"""The acquirer's people: who enrolled, under which consent, and that a withdrawal deletes what is of a face.

Templates come sealed, and lie in the books sealed again, with a key of this machine. Beside them: one-to-many
identification for kiosks that do not hold everybody, and what a terminal last said of its health.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from kiosk.acquirer.messages import VERSION, encode, parse
from kiosk.acquirer.operations import (
    EnrolmentAnswer,
    EnrolmentRequest,
    IdentificationAnswer,
    IdentificationRequest,
    PayerAnswer,
    TelemetryAnswer,
    TelemetryRequest,
    WishesMessage,
)
from kiosk.acquirer.signing import VerifiedRequest
from kiosk.domain.errors import ProtocolError
from kiosk.sandbox.authorise import Authoriser, Treated, problem
from kiosk.sandbox.consents import end_if_over, given_to, refusal
from kiosk.sandbox.ledger import Person
from kiosk.sandbox.templates import Templates

__all__ = ["People"]

SAME_PERSON: Final = 0.6
"""A cosine from here on is taken for the same person; the shipped network's strangers stay below .60
(`kiosk eval identify`)."""
MARGIN: Final = 0.1
LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"


class People:
    """Treats verified calls about persons.

    `is_behind`: whether a kiosk with that epoch and that version of the tombstones lacks what is published.
    """

    def __init__(
        self, authoriser: Authoriser, is_behind: Callable[[int, int], bool] = lambda *_: False
    ) -> None:
        self._is_behind = is_behind
        self._authoriser, self._ledger, self._clock = authoriser, authoriser.ledger, authoriser.clock
        self._templates = Templates(authoriser.folder)

    # --- calls ------------------------------------------------------------------------------------------

    def enrolment(self, who: VerifiedRequest, body: bytes) -> Treated:
        """`POST /v1/enrolments`."""
        sealed_to = self._authoriser.sealed_to
        try:
            request = parse(body, EnrolmentRequest)
            template = sealed_to.template(request.template, request.ref)
            wishes = sealed_to.wishes(request.wishes, request.ref) if request.wishes else None
        except ProtocolError as error:
            return problem(400, "format", str(error))

        def enrol(_: str) -> Treated:
            return Treated(200, encode(self._enrol(request, template, wishes)))

        return self._authoriser.once(who, request, "enrolment", body, enrol)

    def payer(self, token: str) -> Treated:
        """`GET /v1/payers/{token}`, by any terminal that is trusted, also one that has not sold yet: a kiosk
        takes "not found" for "nothing is held"."""
        if not self._holds(token):
            return problem(404, "not_found")
        person = self._ledger.person(token)
        if person is not None:
            with self._ledger.transaction():
                over = end_if_over(self._ledger, person, self._clock.utc_s())
            if over:
                self._ledger.wipe()
        return Treated(200, encode(self._held(token, withdrawing=False)))

    def withdrawal(self, token: str) -> Treated:
        """`DELETE /v1/payers/{token}`, also of somebody who did not enrol here but has an account."""
        if not self._holds(token):
            return problem(404, "not_found")
        with self._ledger.transaction():
            self._ledger.withdraw(token, self._clock.utc_s())
        self._ledger.wipe()
        return Treated(200, encode(self._held(token, withdrawing=True)))

    def identification(self, who: VerifiedRequest, body: bytes) -> Treated:
        """`POST /v1/identifications`."""
        try:
            request = parse(body, IdentificationRequest)
            probe = self._authoriser.sealed_to.template(request.template, request.ref)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        return self._authoriser.once(
            who,
            request,
            "identification",
            body,
            lambda _: Treated(200, encode(self._identify(request, probe))),
        )

    def telemetry(self, who: VerifiedRequest, body: bytes) -> Treated:
        """`POST /v1/telemetry`."""
        try:
            request = parse(body, TelemetryRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))

        def hear(terminal: str) -> Treated:
            self._ledger.hear(terminal, body, self._clock.utc_s())
            newest, _, _ = self._ledger.policy()
            answer = TelemetryAnswer(
                version=VERSION,
                operation="telemetry",
                ref=request.ref,
                action="refresh_policy" if request.policy_version < newest else self._gallery_action(request),
            )
            return Treated(200, encode(answer))

        return self._authoriser.once(who, request, "telemetry", body, hear)

    def _gallery_action(self, request: TelemetryRequest) -> Literal["none", "refresh_gallery"]:
        """A kiosk that follows the gallery counts its epoch and the version of its tombstones."""
        epoch, told = (request.counters.get(name) for name in ("gallery_epoch", "tombstones_version"))
        if epoch is None or told is None:
            return "none"
        return "refresh_gallery" if self._is_behind(epoch, told) else "none"

    # --- inside -----------------------------------------------------------------------------------------

    def _enrol(
        self, request: EnrolmentRequest, template: NDArray[np.float32], wishes: WishesMessage | None
    ) -> EnrolmentAnswer:
        why = refusal(request.consent, self._authoriser.folder, self._clock.utc_s())
        if why:
            return _not_enrolled(request, "refused", why)
        if any(score >= SAME_PERSON for score, _ in self._scores(request.model_id, template)):
            return _not_enrolled(request, "duplicate", "same_face")
        token = "pyr-" + "".join(secrets.choice(LETTERS) for _ in range(12))
        person = Person(
            token=token,
            at=self._clock.utc_s(),
            account=request.account,
            consent_ref=f"consent-{token[4:]}",
            consent=encode(request.consent),
            model_id=request.model_id,
            template=self._templates.seal(token, template),
            withdrawn_at=None,
            wishes=None if wishes is None else self._templates.seal_bytes(token, encode(wishes)),
        )
        self._ledger.enrol(person)
        return EnrolmentAnswer(
            version=VERSION,
            operation="enrolment",
            ref=request.ref,
            result="enrolled",
            token=token,
            consent_ref=person.consent_ref,
            masked_name=person.masked_name,
            masked_account=person.masked_account,
        )

    def _identify(self, request: IdentificationRequest, probe: NDArray[np.float32]) -> IdentificationAnswer:
        scores = sorted(self._scores(request.model_id, probe), key=lambda one: one[0], reverse=True)
        nobody = IdentificationAnswer(
            version=VERSION, operation="identification", ref=request.ref, result="not_found"
        )
        if not scores or scores[0][0] < SAME_PERSON:
            return nobody
        if len(scores) > 1 and scores[0][0] - scores[1][0] < MARGIN:
            return nobody
        score, person = scores[0]
        return IdentificationAnswer(
            version=VERSION,
            operation="identification",
            ref=request.ref,
            result="found",
            token=person.token,
            consent_ref=person.consent_ref,
            masked_name=person.masked_name,
            masked_account=person.masked_account,
            score_band="high" if score >= SAME_PERSON + MARGIN else "medium",
        )

    def _holds(self, token: str) -> bool:
        return self._ledger.person(token) is not None or self._authoriser.has_account(token)

    def _held(self, token: str, *, withdrawing: bool) -> PayerAnswer:
        person = self._ledger.person(token) or Person(token, 0, "", "", b"", "", None, None)
        gone = person.withdrawn_at is not None
        kinds = (
            ("account", not gone),
            ("consent", bool(person.consent)),
            ("payments", True),
            ("template", person.template is not None),
            ("wishes", person.wishes is not None),
        )
        return PayerAnswer(
            version=VERSION,
            operation="withdrawal" if withdrawing else "payer",
            token=token,
            state="withdrawn" if gone else "blocked" if self._authoriser.is_blocked(token) else "active",
            consent_ref=person.consent_ref,
            masked_name=person.masked_name,
            masked_account=person.masked_account,
            enrolled_at=_time(person.at) if person.at else None,
            withdrawn_at=None if person.withdrawn_at is None else _time(person.withdrawn_at),
            held=tuple(kind for kind, held in kinds if held),
            consent=given_to(person),
        )

    def _scores(self, model_id: str, probe: NDArray[np.float32]) -> list[tuple[float, Person]]:
        """The cosine with each reference of that network, of those whose consent still holds."""
        found, now_s = [], self._clock.utc_s()
        for person in self._ledger.people(model_id):
            if end_if_over(self._ledger, person, now_s):
                continue
            reference = self._templates.open(person.token, person.template or b"")
            if reference.shape == probe.shape:
                found.append((float(reference @ probe), person))
        return found


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def _not_enrolled(request: EnrolmentRequest, result: str, code: str) -> EnrolmentAnswer:
    return EnrolmentAnswer(
        version=VERSION,
        operation="enrolment",
        ref=request.ref,
        result=result,  # type: ignore[arg-type]  # one of two literals of this file
        code=code,
    )
