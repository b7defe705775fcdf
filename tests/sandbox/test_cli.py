from __future__ import annotations

import json
import socket

import pytest
from typer.testing import CliRunner

from kiosk.acquirer.trust import load_trust
from kiosk.cli.sandbox import app
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.errors import OperatorError
from kiosk.domain.moments import moment
from kiosk.sandbox import authorise
from kiosk.sandbox.files import read_json
from kiosk.sandbox.keys import OwnKey, Terminals, key_id_of
from kiosk.sandbox.server import home

from ..acquirer.parts import a_payment, an_effect
from .conftest import running
from .test_aftersale import OFFLINE, Shop


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_ledger_can_be_read_while_the_sandbox_runs(sandbox):
    effect = an_effect()
    sandbox.client().send(a_payment(effect))
    rows = json.loads(run("ledger", "--data-dir", sandbox.folder, "--json").stdout)["rows"]
    (row,) = [row for row in rows if row["ref"] == effect.ref]
    assert (row["result"], row["minor"], row["currency"], row["debited_minor"]) == (
        "approved",
        3850,
        "CNY",
        3850,
    )
    text = run("ledger", "--data-dir", sandbox.folder).stdout
    assert effect.ref in text
    assert "minor units debited" in text


def test_a_folder_without_a_ledger_is_said(tmp_path):
    assert isinstance(run("ledger", "--data-dir", tmp_path).exception, OperatorError)


def test_wrong_options_are_said_before_anything_listens(tmp_path):
    assert "--mode" in str(run("--data-dir", tmp_path, "--port", "0", "--mode", "x").exception)
    assert "explode" in str(run("--data-dir", tmp_path, "--port", "0", "--fault", "explode").exception)


@pytest.mark.parametrize("pin", ["12", "abcdef", "1234567890123", ""])
def test_a_pin_that_nobody_could_type_is_said_before_anything_listens(tmp_path, pin):
    assert "4 to 12 digits" in str(run("--data-dir", tmp_path, "--port", "0", "--pin", pin).exception)
    (tmp_path / "payers.json").write_text('{"p": {"balance_minor": 1, "currency": "CNY", "pin": "12"}}')
    with pytest.raises(OperatorError, match=r"payers\.json.*4 to 12 digits"):
        read_json(tmp_path / "payers.json", dict[str, authorise._Payer])


@pytest.fixture
def shop(tmp_path, clock):
    made = Shop(home(tmp_path), clock)
    made.terms(offline=OFFLINE)
    made.policy()
    yield made
    made.ledger.close()


def printed(shop, *arguments):
    """What a command says, in words and as JSON."""
    where = ("--data-dir", shop.folder.parent)
    return run(*arguments, *where).stdout, json.loads(run(*arguments, *where, "--json").stdout)


def test_the_ledger_says_what_went_back_and_what_came_late(shop):
    sold, late = (an_effect(minor=minor, token="pyr-known") for minor in (1_000, 500))
    shop.pay(sold)
    shop.refund(sold, 400)
    shop.refund(sold, 700, number=2)
    shop.advise(late)
    text, told = printed(shop, "ledger")
    assert "refund 1: ¥ 4.00 approved refunded by 7" in text
    assert "refund 2: ¥ 7.00 declined over_refundable by 7" in text
    assert "OFFLINE" in next(line for line in text.splitlines() if late.ref in line)
    rows = {row["ref"]: row for row in told["rows"]}
    assert [refund["code"] for refund in rows[sold.ref]["refunds"]] == ["refunded", "over_refundable"]
    assert [(rows[one.ref]["debited_minor"], rows[one.ref]["offline"]) for one in (sold, late)] == [
        (600, False),
        (500, True),
    ]


def test_disputes_are_listed_with_their_evidence(shop):
    effect = an_effect()
    shop.pay(effect)
    body = {"amount": {"minor": 3850, "currency": "CNY"}, "order_ref": "O-1", "pack": {"journal": [1, 2]}}
    with shop.ledger.transaction():
        shop.ledger.dispute("m-100/s-1/t-7", effect.ref, "not_me", json.dumps(body).encode(), 0.0)
    text, told = printed(shop, "disputes")
    assert f"D-000001 {moment(0.0, None)} not_me   CNY 3850 order O-1" in text
    assert "2 journal entries" in text
    assert told["disputes"][0]["message"] == body


def test_what_terminals_said_last_of_their_health_is_listed(shop):
    checks = {"camera": "ok", "clock": "failed"}
    with shop.ledger.transaction():
        for software in ("kiosk-1", "kiosk-2"):
            said = {"software": software, "policy_version": 3, "checks": checks}
            shop.ledger.hear("m-100/s-1/t-7", json.dumps(said).encode(), 0.0)
    text, told = printed(shop, "terminals")
    assert "m-100/s-1/t-7 kiosk-2 policy 3 failed: clock" in text
    assert len(told["terminals"]) == 1


def test_a_blocked_pin_is_unblocked_by_hand(shop):
    with shop.ledger.transaction():
        for _ in range(3):
            shop.ledger.count_pin("pyr-1", right=False)
    assert "3 wrong PINs forgotten" in run("unblock", "pyr-1", "--data-dir", shop.folder.parent).stdout
    assert shop.ledger.wrong_pins("pyr-1") == 0


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("--data-dir", tmp_path, "--port", taken.getsockname()[1])
    assert "can't listen" in str(result.exception)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="can't be made"):
        home(tmp_path / "file")


def test_a_restart_keeps_the_keys_that_kiosks_pinned(tmp_path):
    with running(tmp_path, "--host", "::1") as first:
        before = first.trust
        assert first.address.startswith("http://[::1]:")
    with running(tmp_path) as second:
        assert second.trust.acquirer_keys == before.acquirer_keys
        assert second.trust.policy_keys == before.policy_keys
    assert load_trust(tmp_path / "sandbox" / "acquirer.json").base_url == second.address


def test_only_public_keys_are_registered(tmp_path):
    key = OwnKey(tmp_path / "own.key", "acq")
    for wrong in (tmp_path / "own.key", tmp_path / "missing.pub"):
        with pytest.raises(OperatorError, match="not a public key"):
            Terminals(tmp_path, tmp_path).register(wrong)
    assert key.key_id == key_id_of(key.public_der, "acq")


def test_a_list_of_terminals_that_is_none_is_said(tmp_path):
    (tmp_path / "terminals.json").write_text("[]")
    with pytest.raises(OperatorError, match=r"terminals\.json"):
        Terminals(tmp_path, tmp_path).find("dev-1")


def test_a_kiosk_of_the_same_folder_is_known_by_its_public_key_and_may_be_followed_too(tmp_path):
    now = [1_000.0]
    terminals = Terminals(tmp_path, tmp_path, lambda: now[0])
    first, second = (SoftwareKey.load_or_create(tmp_path / name) for name in ("device.key", "next.key"))
    on_a_token = key_id_of(first.public_key_der(), "hw")
    assert terminals.find(first.key_id) is not None
    assert terminals.find(on_a_token) is not None  # the file doesn't say where the private half is
    assert terminals.find(second.key_id) is None

    terminals.register(tmp_path / "next.pub", replaces=first.key_id, overlap_s=60)
    assert terminals.followed(second.key_id) == first.key_id
    assert terminals.followed(first.key_id) == ""
    for at, live in ((1_000.0, True), (1_059.0, True), (1_060.0, False)):
        now[0] = at
        assert (terminals.find(first.key_id) is not None) is live
        assert terminals.find(second.key_id) is not None
