"""People at the sandbox: enrolled by consent, found again, gone when they withdraw."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from kiosk.acquirer.jwe import TEMPLATE_TYP, WISHES_TYP, seal
from kiosk.acquirer.messages import Problem, encode, freeze, parse, utc
from kiosk.acquirer.operations import (
    ConsentMessage,
    EnrolmentAnswer,
    EnrolmentRequest,
    GuardianMessage,
    IdentificationAnswer,
    IdentificationRequest,
    PayerAnswer,
    TelemetryAnswer,
    TelemetryRequest,
    WishesMessage,
)
from kiosk.assets import assets_dir
from kiosk.consent_texts import ConsentTexts
from kiosk.domain.chain import GENESIS
from kiosk.domain.limits import PinKey
from kiosk.domain.payment import Result
from kiosk.sandbox.people import People

from ..acquirer.parts import an_effect
from .test_aftersale import REFS, Shop


def a_face(seed: int, like: np.ndarray | None = None) -> np.ndarray:
    face = np.random.default_rng(seed).normal(size=192).astype(np.float32)
    face /= np.linalg.norm(face)
    if like is not None:
        face = 0.95 * like + 0.05 * face
        face /= np.linalg.norm(face)
    return face


MING, LAN = a_face(1), a_face(2)
TEXT = ConsentTexts([assets_dir() / "consent"]).newest("zh-Hans")


class Office(Shop):
    """A terminal that enrols, and the acquirer."""

    def __init__(self, folder, clock):
        super().__init__(folder, clock)
        self.people = People(self.authoriser)

    def sealed(self, face, ref):
        key = self.authoriser.sealed_to.terms()
        return seal(face.astype("<f4").tobytes(), TEMPLATE_TYP, ref, PinKey(key.kid, key.key))

    def sealed_wishes(self, wishes, ref):
        key = self.authoriser.sealed_to.terms()
        return seal(encode(wishes), WISHES_TYP, ref, PinKey(key.kid, key.key))

    def enrol(self, face, *, days=365, model="net-1", account="wallet-ming", ref=None, wishes=None, **said):
        ref, now = ref or next(REFS), self.clock.utc_s()
        consent = {
            "text_version": TEXT.version,
            "text_sha256": TEXT.sha256,
            "language": TEXT.language,
            "scope": ("pay",),
            "given_at": utc(now),
            "keep_until": utc(now + days * 86_400),
            "of_age": True,
        }
        request = EnrolmentRequest(
            **self._identity(ref),
            operation="enrolment",
            consent=ConsentMessage(**consent | said),
            template=self.sealed(face, ref),
            model_id=model,
            account=account,
            wishes=wishes if wishes is None else self.sealed_wishes(wishes, ref),
        )
        exchange = freeze(request, "enrolment", "/v1/enrolments")
        treated = self.people.enrolment(self._who(exchange), exchange.body)
        return parse(treated.body, EnrolmentAnswer if treated.status == 200 else Problem)

    def identify(self, face, model="net-1"):
        ref = next(REFS)
        request = IdentificationRequest(
            **self._identity(ref),
            operation="identification",
            template=self.sealed(face, ref),
            model_id=model,
            gallery_version=0,
        )
        exchange = freeze(request, "identification", "/v1/identifications")
        treated = self.people.identification(self._who(exchange), exchange.body)
        return parse(treated.body, IdentificationAnswer if treated.status == 200 else Problem)


@pytest.fixture
def office(tmp_path, clock):
    made = Office(tmp_path, clock)
    made.pay(an_effect())  # the terminal is known from here on
    yield made
    made.ledger.close()


def test_a_person_is_enrolled_found_again_and_gone_when_they_withdraw(office):
    enrolled = office.enrol(MING)
    assert enrolled.result == "enrolled"
    found = office.identify(a_face(7, like=MING))
    assert (found.result, found.token, found.score_band) == ("found", enrolled.token, "high")
    held = parse(office.people.payer(enrolled.token).body, PayerAnswer)
    assert (held.state, held.held) == ("active", ("account", "consent", "payments", "template"))
    assert office.pay(an_effect(token=enrolled.token)).result is Result.APPROVED

    first = parse(office.people.withdrawal(enrolled.token).body, PayerAnswer)
    again = parse(office.people.withdrawal(enrolled.token).body, PayerAnswer)
    assert (first.state, first.held) == ("withdrawn", ("consent", "payments"))
    assert first == again
    assert office.identify(MING).result == "not_found"
    assert office.pay(an_effect(token=enrolled.token)).code == "payer_withdrawn"


def test_a_template_lies_in_the_books_sealed_and_after_a_withdrawal_not_at_all(office):
    token = office.enrol(MING).token
    person = office.ledger.person(token)
    plain = MING.astype("<f4").tobytes()
    assert plain[:64] not in person.template
    office.people.withdrawal(token)
    books = b"".join(path.read_bytes() for path in office.folder.glob("ledger.sqlite*"))
    assert person.template not in books
    assert b"wallet-ming" not in books


def test_the_same_face_again_is_a_duplicate_and_another_is_not(office):
    office.enrol(MING)
    assert office.enrol(a_face(9, like=MING), account="wallet-other").result == "duplicate"
    assert office.enrol(LAN, account="wallet-lan").result == "enrolled"
    assert office.enrol(MING, model="net-2").result == "enrolled"  # cosines of two networks mean nothing


SEEN = GuardianMessage(declared_at=utc(0), approved_by="7")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"of_age": False}, "under_age"),
        ({"days": -1}, "consent_over"),
        ({"days": 4_000}, "consent_times"),
        ({"given_at": utc(1_800_000_000)}, "consent_times"),
        ({"scope": ("staff",)}, "not_for_payments"),
        ({"text_sha256": GENESIS}, "unknown_text"),
        ({"text_version": "v99"}, "unknown_text"),
        ({"language": "en"}, "unknown_text"),
    ],
)
def test_without_a_consent_that_holds_nobody_is_enrolled(office, change, code):
    answer = office.enrol(MING, **change)
    assert (answer.result, answer.code, office.ledger.people("net-1")) == ("refused", code, [])


def test_a_child_is_enrolled_by_a_guardian_and_what_was_declared_is_kept(office):
    told = office.enrol(MING, of_age=False, guardian=SEEN)
    assert told.result == "enrolled"
    held = parse(office.people.payer(told.token).body, PayerAnswer)
    assert (held.consent.of_age, held.consent.guardian) == (False, SEEN)
    assert held.consent.text_sha256 == TEXT.sha256


def test_digits_and_own_caps_come_sealed_lie_sealed_and_go_with_the_person(office):
    token = office.enrol(MING, wishes=WishesMessage(digits="4821", per_person_day=20_000)).token
    assert "wishes" in parse(office.people.payer(token).body, PayerAnswer).held
    books = b"".join(path.read_bytes() for path in office.folder.glob("ledger.sqlite*"))
    assert b"4821" not in books
    office.people.withdrawal(token)
    assert office.ledger.person(token).wishes is None


def test_wishes_that_are_none_are_refused(office):
    assert office.enrol(MING, wishes=GuardianMessage(declared_at=utc(0), approved_by="7")).error == "format"


def test_a_text_that_the_acquirer_publishes_counts_as_one_that_ships(office):
    folder = office.folder / "consent" / "v2"
    folder.mkdir(parents=True)
    raw = (assets_dir() / "consent" / "v1" / "zh-Hans.json").read_bytes().replace(b'"v1"', b'"v2"')
    (folder / "zh-Hans.json").write_bytes(raw)
    told = office.enrol(MING, text_version="v2", text_sha256=hashlib.sha256(raw).hexdigest())
    assert told.result == "enrolled"


def test_a_consent_that_has_ended_is_a_withdrawal_whoever_asks_first(office):
    paid, asked, found = (
        office.enrol(face, days=1, account=f"wallet-{number}").token
        for number, face in enumerate((MING, LAN, a_face(3)))
    )
    assert office.pay(an_effect(token=paid)).result is Result.APPROVED
    office.clock.advance(86_400_000)
    assert office.pay(an_effect(token=paid)).code == "payer_withdrawn"
    held = parse(office.people.payer(asked).body, PayerAnswer)
    assert (held.state, "template" in held.held) == ("withdrawn", False)
    assert office.identify(a_face(3)).result == "not_found"
    assert all(office.ledger.person(token).template is None for token in (paid, asked, found))
    assert office.enrol(MING, account="wallet-ming").result == "enrolled"


@pytest.mark.parametrize("face", [np.zeros(192, np.float32), 3 * MING, np.full(192, np.nan, np.float32)])
def test_what_is_no_template_is_refused(office, face):
    assert office.enrol(face).error == "format"
    assert office.identify(face).error == "format"


def test_nobody_is_named_when_two_are_close_or_none_is_near(office):
    assert office.identify(MING).result == "not_found"
    office.enrol(MING)
    between = MING + 0.9 * a_face(3)
    office.enrol((between / np.linalg.norm(between)).astype(np.float32), model="net-1", account="wallet-b")
    assert office.identify(LAN).result == "not_found"


def test_of_nobody_and_for_nobody_there_is_nothing(office):
    assert office.people.payer("pyr-nobody").status == 404
    assert office.people.withdrawal("pyr-nobody").status == 404


def test_who_has_an_account_but_never_enrolled_here_can_withdraw_and_pays_nothing_more(office):
    (office.folder / "payers.json").write_text('{"pyr-named": {"balance_minor": 100, "currency": "CNY"}}')
    office.pay(an_effect(token="pyr-guest"))
    for token in ("pyr-guest", "pyr-named"):
        held = parse(office.people.payer(token).body, PayerAnswer)
        assert (held.state, held.held, held.enrolled_at) == ("active", ("account", "payments"), None)
        gone = parse(office.people.withdrawal(token).body, PayerAnswer)
        assert (gone.state, gone.held) == ("withdrawn", ("payments",))
        assert office.pay(an_effect(token=token, minor=1)).code == "payer_withdrawn"


@pytest.mark.parametrize(
    ("counters", "action"),
    [
        ({"gallery_epoch": 1, "tombstones_version": 7}, "refresh_gallery"),
        ({"gallery_epoch": 2, "tombstones_version": 7}, "none"),
        ({"gallery_epoch": 1}, "none"),
        ({}, "none"),
    ],
)
def test_a_kiosk_that_is_behind_with_the_gallery_is_told_to_fetch_it(office, counters, action):
    office.policy()
    office.people = People(office.authoriser, lambda epoch, told: (epoch, told) < (2, 3))
    ref = next(REFS)
    request = TelemetryRequest(
        **office._identity(ref),
        operation="telemetry",
        software="kiosk-1.0",
        gallery_version=3,
        policy_version=1,
        counters=counters,
        checks={},
    )
    exchange = freeze(request, "telemetry", "/v1/telemetry")
    answer = parse(office.people.telemetry(office._who(exchange), exchange.body).body, TelemetryAnswer)
    assert answer.action == action


def test_a_terminal_s_last_word_on_its_health_is_kept(office):
    office.policy()
    ref = next(REFS)
    request = TelemetryRequest(
        **office._identity(ref),
        operation="telemetry",
        software="kiosk-1.0",
        gallery_version=3,
        policy_version=0,
        counters={"payments": 7},
        checks={"camera": "ok"},
    )
    exchange = freeze(request, "telemetry", "/v1/telemetry")
    answer = parse(office.people.telemetry(office._who(exchange), exchange.body).body, TelemetryAnswer)
    assert answer.action == "refresh_policy"
    ((terminal, _, body),) = office.ledger.heard()
    assert terminal == "m-100/s-1/t-7"
    assert b'"payments":7' in body
