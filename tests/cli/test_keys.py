"""`kiosk keys` as people use it: a kiosk with a real SoftHSM2 token and a sandbox in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from kiosk.acquirer.client import AcquirerClient, Lost, Verified
from kiosk.acquirer.messages import status_request
from kiosk.acquirer.trust import load_trust
from kiosk.app.workers import SystemClock
from kiosk.devices.key_token import OVERLAP_S, TokenKey
from kiosk.domain.payment import Result

from ..acquirer.parts import a_payment, a_reversal, an_effect
from ..sandbox.conftest import running
from ..tokens import PIN, SoftToken, soft_token
from .conftest import DEMO, PAYER, Kiosk

DAY_S = 86_400


@pytest.fixture
def soft() -> Iterator[SoftToken]:
    with soft_token() as made:
        yield made


@dataclass
class Shop:
    """A kiosk with a token, and the acquirer that it was set up with."""

    kiosk: Kiosk
    soft: SoftToken
    folder: Path
    acquirer: Path

    def __call__(self, *arguments: object, code: int = 0) -> dict:
        ran = self.kiosk(*arguments, "--data-dir", self.folder, "--json")
        assert ran.code == code, ran
        assert PIN not in ran.out + ran.err
        return json.loads(ran.out)

    def trust(self, csr: str | Path, *options: str) -> None:
        ran = self.kiosk("sandbox", "trust", csr, "--data-dir", self.acquirer, *options)
        assert ran.code == 0, ran

    def key(self, role: str) -> TokenKey:
        ring = self.soft.ring(self.folder)
        return ring.key(getattr(ring.keys(), role))

    def client(self, key: TokenKey) -> AcquirerClient:
        trust = load_trust(self.folder / "acquirer.json")
        return AcquirerClient(trust.base_url, key, trust.acquirer_keys, SystemClock())

    def days_pass(self, days: int) -> None:
        """Everything that was written down with a time happened `days` earlier, on both sides."""
        state = self.folder / "keys.json"
        keys = msgspec.json.decode(state.read_bytes())
        for entry in (keys[role] for role in ("current", "next", "old")):
            if entry:
                entry["made_s"] -= days * DAY_S
                entry["until_s"] -= days * DAY_S if entry["until_s"] else 0
        state.write_bytes(msgspec.json.encode(keys))
        terminals = self.acquirer / "sandbox" / "terminals.json"
        listed = msgspec.json.decode(terminals.read_bytes())
        for entry in listed.values():
            if isinstance(entry, dict) and "until" in entry:
                until = msgspec.convert(entry["until"], type=datetime)
                entry["until"] = until - timedelta(days=days)
        terminals.write_bytes(msgspec.json.encode(listed))


@pytest.fixture
def shop(kiosk: Kiosk, soft: SoftToken, tmp_path: Path) -> Iterator[Shop]:
    """Not sharing a folder: the acquirer knows of the kiosk what it is given."""
    data, acquirer = tmp_path / "kiosk", tmp_path / "acquirer"
    data.mkdir()
    acquirer.mkdir()
    soft.config(data / "kiosk.toml")
    with running(acquirer, "--hardware-keys-only"):
        (data / "acquirer.json").write_bytes((acquirer / "sandbox" / "acquirer.json").read_bytes())
        yield Shop(kiosk, soft, data, acquirer)


def check(shop: Shop) -> dict:
    ran = shop.kiosk("doctor", "--camera", DEMO / "enrol" / PAYER, "--data-dir", shop.folder, "--json")
    return next(one for one in json.loads(ran.out)["checks"] if one["name"] == "key")


def test_the_rotation_drill(shop, tmp_path):
    """Two ids live during the overlap, the old one is refused after it, and no payment is lost on the way."""
    first = shop("keys", "make")["id"]
    shop("keys", "csr", "--out", tmp_path / "first.csr")
    shop.trust(tmp_path / "first.csr")
    old = shop.client(shop.key("current"))
    began_before = an_effect()
    assert old.send(a_payment(began_before)).answer.result is Result.APPROVED

    assert shop("keys", "rotate")["state"] == "not_due"
    assert check(shop)["status"] == "green"
    shop.days_pass(83)
    assert "rotate" in check(shop)["action"]

    made = shop("keys", "rotate")
    assert made["state"] == "prepared"
    second = made["id"]
    assert {key["role"]: key["id"] for key in shop("keys", "show")["keys"]} == {
        "current": first,
        "next": second,
    }
    refused = shop("keys", "rotate", code=2)["error"]
    assert "does not take" in refused
    assert first in refused  # the one that goes on signing
    assert isinstance(old.send(a_payment(an_effect(), 2)), Verified)

    shop.trust(made["file"], "--replaces", first)
    assert shop("keys", "rotate")["state"] == "active"
    new = shop.client(shop.key("current"))
    # During the overlap the acquirer takes both, and the new key speaks for what the old one began.
    assert new.send(status_request(began_before.ref)).answer.result is Result.APPROVED
    assert old.send(a_payment(an_effect(), 3)).answer.result is Result.APPROVED
    assert new.send(a_payment(an_effect(), 4)).answer.result is Result.APPROVED
    assert not isinstance(new.send(a_reversal(began_before)), Lost)
    assert "old" in check(shop)["detail"]

    shop.days_pass(8)
    late = old.send(a_payment(an_effect(), 5))
    assert isinstance(late, Lost)
    assert late.code == "unknown_key"
    assert new.send(a_payment(an_effect(), 6)).answer.result is Result.APPROVED
    assert shop("keys", "rotate")["destroyed"] == first
    assert [key["id"] for key in shop("keys", "show")["keys"]] == [second]
    assert OVERLAP_S == 7 * DAY_S


def test_a_payment_with_a_key_on_a_token_and_what_becomes_of_it_without_the_token(shop):
    pay = ("pay", "--camera", DEMO / "probe" / f"{PAYER}.jpg", "--amount", "5.00", "--digits", "4821")
    assert "kiosk keys make" in shop(*pay, code=2)["error"]
    shop("keys", "make")
    shop.kiosk("keys", "csr", "--out", shop.folder / "k.csr", "--data-dir", shop.folder)
    shop.trust(shop.folder / "k.csr")
    shop("enrol", "--camera", DEMO / "enrol" / PAYER, "--payer", PAYER, "--digits", "4821")
    shop.soft.take_away()
    gone = shop(*pay, code=2)["error"]
    assert "token" in gone
    assert "\n" not in gone
    assert check(shop)["status"] == "red"
    shop.soft.put_back()
    assert check(shop)["status"] == "green"


def test_a_software_key_is_refused_by_an_acquirer_that_wants_hardware(shop, kiosk):
    (shop.folder / "kiosk.toml").unlink()
    made = shop("keys", "make")
    assert made["class"] == "dev"
    assert "already" in shop("keys", "make", code=2)["error"]
    shop.trust(shop.folder / "device.pub")
    doctor = kiosk("doctor", "--camera", DEMO / "enrol" / PAYER, "--data-dir", shop.folder, "--json")
    lines = {one["name"]: one for one in json.loads(doctor.out)["checks"]}
    assert "does not take a software key" in lines["acquirer"]["detail"]
    assert "0 days old" in lines["key"]["detail"]
    assert shop("keys", "show")["keys"][0]["class"] == "dev"
    assert "no successor" in shop("keys", "rotate", code=2)["error"]


def test_a_request_can_be_printed_and_belongs_to_the_key(shop):
    shop("keys", "make")
    told = shop("keys", "csr")
    request = x509.load_pem_x509_csr(told["csr"].encode())
    assert request.is_signature_valid
    assert told["id"] in request.subject.rfc4514_string()
    ran = shop.kiosk("keys", "csr", "--data-dir", shop.folder)
    assert ran.out.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert "cannot be written" in shop("keys", "csr", "--out", "/nowhere/kiosk.csr", code=2)["error"]


def test_for_people_it_says_the_next_step(shop):
    def said(*arguments: str) -> str:
        ran = shop.kiosk("keys", *arguments, "--data-dir", shop.folder)
        assert ran.code == 0, ran
        return ran.out

    assert "kiosk keys make" in said("show")
    assert "kiosk keys csr" in said("make")
    assert "current" in said("show")
    assert "--now" in said("rotate")
    assert "run this again" in said("rotate", "--now")
    assert "next" in said("show")


@pytest.mark.parametrize(
    "wrong", ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
def test_the_sandbox_registers_only_requests_that_hold(shop, tmp_path, wrong):
    (tmp_path / "wrong.csr").write_text(wrong)
    ran = shop.kiosk("sandbox", "trust", tmp_path / "wrong.csr", "--data-dir", shop.acquirer)
    assert ran.code == 2
    assert "not a public key or certification request" in ran.err


def test_the_sandbox_takes_no_successor_of_a_stranger(shop, tmp_path):
    shop("keys", "make")
    shop("keys", "csr", "--out", tmp_path / "k.csr")
    options = ("--replaces", "hw-00", "--data-dir", shop.acquirer)
    ran = shop.kiosk("sandbox", "trust", tmp_path / "k.csr", *options)
    assert ran.code == 2
    assert "no terminal has the key hw-00" in ran.err


def test_a_wrong_pin_and_a_missing_module_are_one_line(shop):
    shop.soft.pin_file.write_text("0000")
    assert "refuses the PIN" in shop("keys", "make", code=2)["error"]
    shop.soft.config(shop.folder / "kiosk.toml", module="/nowhere.so")
    assert "does not load" in shop("keys", "make", code=2)["error"]
    (shop.folder / "kiosk.toml").write_text('[key]\nstore = "token"\n')
    assert "key.module is empty" in shop("keys", "show", code=2)["error"]
