"""How the sandbox decides, without HTTP, by a clock of its own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kiosk.acquirer.jwe import PIN_TYP, seal
from kiosk.acquirer.messages import AnswerMessage, PolicyTerms, Problem, Terminal, parse
from kiosk.acquirer.signing import TrustedKeys, VerifiedRequest, verify_jws
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import PinKey
from kiosk.domain.payment import Result
from kiosk.sandbox.authorise import Authoriser
from kiosk.sandbox.keys import OwnKey
from kiosk.sandbox.ledger import Ledger

from ..acquirer.parts import TERMINAL, a_payment, a_reversal, an_effect


class Desk:
    def __init__(self, folder, clock, **options):
        self.folder, self.clock = folder, clock
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.key = OwnKey(folder / "policy.key", "pol")
        self.authoriser = Authoriser(self.ledger, self.key, folder, clock, **{"mode": "test"} | options)

    def pay(self, effect, key_id="k-1", policy_version=1, terminal=TERMINAL):
        exchange = a_payment(effect, policy_version=policy_version, terminal=terminal)
        treated = self.authoriser.payment(
            VerifiedRequest(key_id, exchange.idempotency_key, ""), exchange.body
        )
        return parse(treated.body, AnswerMessage)

    def undo(self, effect, key_id="k-1"):
        exchange = a_reversal(effect)
        who = VerifiedRequest(key_id, exchange.idempotency_key, "")
        return parse(self.authoriser.reversal(who, effect.ref, exchange.body).body, AnswerMessage)

    def terms(self, **changes):
        (self.folder / "policy.json").write_text(json.dumps(changes))

    def policy(self):
        trusted = TrustedKeys({self.key.key_id: self.key.public_der})
        return parse(verify_jws(self.authoriser.policy(), "facepay-policy+jws", trusted), PolicyTerms)


@pytest.fixture
def desk(tmp_path, clock):
    made = Desk(tmp_path, clock)
    yield made
    made.ledger.close()


def with_pin(desk, effect, pin="246810", ref=None):
    """The payment with a PIN, sealed as a kiosk does (`ref`: for another attempt)."""
    key = desk.authoriser.sealed_to.terms()
    content = json.dumps({"pin": pin, "ref": ref or effect.ref}).encode()
    sealed = seal(content, PIN_TYP, ref or effect.ref, PinKey(key.kid, key.key))
    return replace(effect, pin=sealed, evidence=replace(effect.evidence, methods=("face", "pin")))


@pytest.mark.parametrize(
    ("effect", "code"),
    [
        ({"minor": 100_000}, "pin_needed"),
        ({"minor": 100_001}, "over_payment_cap"),
        ({"minor": 50_001}, "pin_needed"),
        ({"minor": 50_000}, "approved"),
        ({"currency": "EUR"}, "currency"),
    ],
    ids=str,
)
def test_amounts_are_held_against_the_signed_caps(desk, effect, code):
    assert desk.pay(an_effect(**effect)).code == code


def test_a_pin_pays_what_a_look_alone_may_not(desk):
    assert desk.pay(with_pin(desk, an_effect(minor=100_000))).result is Result.APPROVED


def test_the_law_can_ask_for_a_pin_everywhere(desk):
    desk.terms(two_factors_above=0)
    assert desk.pay(an_effect(minor=1)).code == "pin_needed"
    assert desk.pay(with_pin(desk, an_effect(minor=1))).result is Result.APPROVED


def test_three_wrong_pins_block_a_payer_also_with_the_right_one_and_after_a_restart(desk, tmp_path, clock):
    token = "pyr-forgetful"
    codes = [desk.pay(with_pin(desk, an_effect(minor=60_000, token=token), "0000")).code for _ in range(3)]
    assert codes == ["wrong_pin", "wrong_pin", "pin_blocked"]
    desk.ledger.close()
    again = Desk(tmp_path, clock)
    assert again.pay(with_pin(again, an_effect(minor=60_000, token=token))).code == "pin_blocked"
    assert again.pay(an_effect(minor=100, token=token)).result is Result.APPROVED
    with again.ledger.transaction():
        again.ledger.count_pin(token, right=True)
    assert again.pay(with_pin(again, an_effect(minor=60_000, token=token))).result is Result.APPROVED
    again.ledger.close()


def test_a_right_pin_clears_the_count_and_a_retry_is_not_counted_again(desk):
    token = "pyr-clumsy"
    for _ in range(4):
        wrong = with_pin(desk, an_effect(minor=60_000, token=token), "0000")
        assert [desk.pay(wrong).code for _ in range(3)] == ["wrong_pin"] * 3
        assert desk.pay(with_pin(desk, an_effect(minor=60_000, token=token))).result is Result.APPROVED


def test_a_payer_may_have_a_pin_of_their_own(desk):
    payer = {"balance_minor": 500_000, "currency": "CNY", "pin": "9753"}
    (desk.folder / "payers.json").write_text(json.dumps({"pyr-own": payer}))
    assert desk.pay(with_pin(desk, an_effect(minor=60_000, token="pyr-own"))).code == "wrong_pin"
    assert desk.pay(with_pin(desk, an_effect(minor=60_000, token="pyr-own"), "9753")).code == "approved"


@pytest.mark.parametrize("pin", ["12", "abcd", "1" * 13, "１２３４"])
def test_what_is_no_pin_is_refused_and_not_counted(desk, pin):
    token = "pyr-odd"
    for _ in range(4):
        assert desk.pay(with_pin(desk, an_effect(minor=60_000, token=token), pin)).code == "pin_format"


def test_a_pin_of_another_attempt_is_none(desk):
    other = an_effect().ref
    assert desk.pay(with_pin(desk, an_effect(minor=60_000), ref=other)).code == "pin_format"


def test_nothing_of_a_pin_is_in_the_books(desk):
    desk.pay(with_pin(desk, an_effect(minor=60_000), "86420135"))
    books = b"".join(path.read_bytes() for path in desk.folder.glob("ledger.sqlite*"))
    assert b"86420135" not in books


def test_a_sequence_is_used_once(desk):
    first, second = an_effect(), an_effect()
    exchange = a_payment(first, sequence=7)
    who = VerifiedRequest("k-1", exchange.idempotency_key, "")
    assert desk.authoriser.payment(who, exchange.body).status == 200
    again = a_payment(second, sequence=7)
    treated = desk.authoriser.payment(VerifiedRequest("k-1", again.idempotency_key, ""), again.body)
    assert (treated.status, parse(treated.body, Problem).error) == (409, "sequence_reused")
    assert desk.undo(second).result is Result.REVERSED  # a reversal gets through whatever its number is


def test_the_days_of_a_person_and_of_a_kiosk_have_caps(desk, clock):
    desk.terms(ceiling={"per_payment": 1_000, "per_person_day": 1_500, "per_kiosk_day": 2_500})
    first = desk.pay(an_effect(minor=1_000, token="a"))
    assert (first.limits_left.person_day, first.limits_left.kiosk_day) == (500, 1_500)
    assert desk.pay(an_effect(minor=501, token="a")).code == "over_person_day_cap"
    assert desk.pay(an_effect(minor=500, token="a")).code == "approved"
    assert desk.pay(an_effect(minor=1_000, token="b")).code == "approved"
    assert desk.pay(an_effect(minor=1, token="c")).code == "over_kiosk_day_cap"
    clock.advance(86_400_000)
    assert desk.pay(an_effect(minor=1_000, token="a")).code == "approved"


def test_a_person_pays_only_so_often_in_an_hour(desk, clock):
    desk.terms(ceiling={"per_payment": 1_000, "per_person_hour_count": 2})
    codes = [desk.pay(an_effect(minor=1, token="a")).code for _ in range(3)]
    assert codes == ["approved", "approved", "velocity"]
    clock.advance(3_600_001)
    answer = desk.pay(an_effect(minor=1, token="a"))
    assert answer.code == "approved"
    assert answer.limits_left.person_day is None


def test_what_was_reversed_counts_no_more(desk):
    desk.terms(ceiling={"per_payment": 1_000, "per_person_day": 1_000})
    effect = an_effect(minor=1_000, token="a")
    desk.pay(effect)
    assert desk.undo(effect).result is Result.REVERSED
    assert desk.pay(an_effect(minor=1_000, token="a")).code == "approved"


def test_an_account_holds_what_it_holds(desk):
    payers = {
        "rich": {"balance_minor": 100, "currency": "CNY", "masked": "*ich"},
        "euro": {"balance_minor": 100, "currency": "EUR"},
        "gone": {"balance_minor": 100, "currency": "CNY", "blocked": True},
    }
    (desk.folder / "payers.json").write_text(json.dumps(payers))
    assert desk.pay(an_effect(minor=60, token="rich")).masked_payer == "*ich"
    assert desk.pay(an_effect(minor=60, token="rich")).code == "insufficient_funds"
    assert desk.pay(an_effect(minor=40, token="rich")).code == "approved"
    assert desk.pay(an_effect(minor=60, token="euro")).code == "currency"
    assert desk.pay(an_effect(minor=60, token="gone")).code == "payer_blocked"


def test_the_law_can_switch_face_payment_off(desk):
    desk.terms(face_allowed=False)
    assert desk.pay(an_effect()).code == "face_not_allowed"
    assert desk.policy().face_allowed is False


def test_payers_can_be_declined_or_have_to_be_known(tmp_path, clock):
    desk = Desk(tmp_path, clock, declined=frozenset({"x"}), opening_minor=None)
    assert desk.pay(an_effect(token="x")).code == "payer_blocked"
    assert desk.pay(an_effect(token="y")).code == "unknown_payer"
    desk.ledger.close()


@pytest.mark.parametrize(
    ("mode", "accepted"), [("test", {"demo", "test", "training"}), ("production", {"production"})]
)
def test_modes_are_kept_apart(tmp_path, clock, mode, accepted):
    desk = Desk(tmp_path, clock, mode=mode)
    for asked in ("demo", "test", "training", "production"):
        answer = desk.pay(an_effect(), terminal=Terminal("m-100", "s-1", "t-7", asked, "P"))
        assert (answer.result is Result.APPROVED) == (asked in accepted)
        assert answer.code == ("approved" if asked in accepted else "mode")
    desk.ledger.close()


def test_the_policy_has_one_version_until_its_terms_change_or_it_grows_old(desk, clock):
    first = desk.policy()
    clock.advance(3_600_000)
    again = desk.policy()
    assert (again.version, again.expires, again.ceiling) == (first.version, first.expires, first.ceiling)
    desk.terms(provider="Another")
    assert (desk.policy().version, desk.policy().provider) == (2, "Another")
    clock.advance(13 * 3_600_000)
    renewed = desk.policy()
    assert renewed.version == 3
    assert renewed.expires > first.expires


def test_a_kiosk_with_an_old_policy_is_told(desk):
    desk.policy()
    desk.terms(provider="Another")
    desk.policy()
    assert desk.pay(an_effect(), policy_version=1).action == "refresh_policy"
    assert desk.pay(an_effect(), policy_version=2).action == "none"


BAD = [
    ("payers.json", "{", "truncated"),
    ("payers.json", '{"p": {"balance_minor": -1, "currency": "CNY"}}', "balance_minor"),
    ("payers.json", '{"p": {"balance_minor": 9223372036854775808, "currency": "CNY"}}', "balance_minor"),
    ("payers.json", '{"p": {"balance_minor": 1, "currency": "YUAN"}}', "unknown currency 'YUAN'"),
    ("payers.json", '{"p": {"balance_minor": 1, "currency": "CNY", "masked": "two\\nlines"}}', "masked"),
    (
        "payers.json",
        '{"p": {"balance_minor": 1, "currency": "CNY", "balance": 1}}',
        "unknown field `balance`",
    ),
    ("policy.json", "[]", "Expected `object`"),
    ("policy.json", '{"provider": "two\\nlines"}', "provider"),
    ("policy.json", '{"licence": "no name"}', "licence"),
    ("policy.json", '{"law_note": "two\\nlines"}', "law_note"),
    ("policy.json", '{"currency": "YUAN"}', "unknown currency 'YUAN'"),
    ("policy.json", '{"lifetime_s": -1}', "lifetime_s"),
    ("policy.json", '{"timezone": "Moon/Tycho"}', "Moon/Tycho"),
    ("policy.json", '{"licence_lifetime_s": 99999999999}', "licence_lifetime_s"),
    ("policy.json", '{"two_factors_above": -1}', "two_factors_above"),
]
"""What a kiosk would not believe, or could not read: two of these were signed and sent once."""


@pytest.mark.parametrize(("name", "content", "told"), BAD)
def test_a_file_that_cannot_be_used_is_said_before_anybody_is_served(desk, name, content, told):
    (desk.folder / name).write_text(content)
    with pytest.raises(OperatorError, match=f"{name}: can't be used: .*{told}.*Mend or remove it"):
        Authoriser(desk.ledger, desk.key, desk.folder, desk.clock, mode="test")


@pytest.mark.parametrize(("name", "content", "told"), BAD)
def test_one_that_breaks_later_declines_payments_and_the_log_says_which(desk, name, content, told, caplog):
    paid = an_effect()
    assert desk.pay(paid).result is Result.APPROVED
    (desk.folder / name).write_text(content)
    effect = an_effect()
    for _ in range(2):  # and a retry has the same answer
        answer = desk.pay(effect)
        assert (answer.result, answer.code) == (Result.DECLINED, "malfunction")
    (line,) = caplog.messages
    assert name in line
    assert told in line
    assert desk.undo(paid).result is Result.REVERSED, "what needs no file goes on"
    (desk.folder / name).unlink()
    assert desk.pay(an_effect()).result is Result.APPROVED
    assert desk.pay(effect).code == "malfunction", "that attempt had its end"
    assert [row.debited_minor for row in desk.ledger.rows()].count(0) == 2


def test_every_debit_and_every_reversal_adds_up_to_zero(desk):
    effects = [an_effect(minor=100 + number) for number in range(5)]
    for effect in effects:
        desk.pay(effect)
    for effect in effects[::2]:
        desk.undo(effect)
    sums = desk.ledger._db.execute("SELECT attempt, sum(minor) FROM postings GROUP BY attempt").fetchall()
    assert [total for _, total in sums] == [0] * 5
    assert [row.debited_minor for row in desk.ledger.rows()] == [0, 101, 0, 103, 0]


def test_what_fails_half_way_leaves_no_trace(desk):
    desk.authoriser.ledger.next_rrn = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        desk.pay(an_effect())
    assert desk.ledger.rows() == []
    assert desk.ledger.terminal("k-1") == ""


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"text " * 1_000)
    with pytest.raises(OperatorError, match="ledger"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_full_disk_is_said_and_leaves_no_trace(desk):
    desk.ledger._db.execute("PRAGMA max_page_count = 1")  # SQLite takes the number of pages that there are
    with pytest.raises(OperatorError, match=r"disk is full.*Free"):
        any(desk.pay(an_effect()) is None for _ in range(1_000))
    desk.ledger._db.execute("PRAGMA max_page_count = 10000")
    before = len(desk.ledger.rows())
    desk.pay(an_effect())
    assert len(desk.ledger.rows()) == before + 1
