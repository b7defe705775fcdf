"""Mutual TLS as people set it up: `kiosk keys tls`, `kiosk sandbox --tls | certify | revoke`, the doctor."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kiosk.acquirer.client import Lost, PolicyReceived, Unsent, Verified
from kiosk.acquirer.messages import Terminal, policy_request, status_request
from kiosk.acquirer.tls import Tls, TlsIdentity
from kiosk.devices.tls_key import TlsKey
from kiosk.domain.payment import Result
from kiosk.sandbox.ca import Authority

from ..acquirer.parts import a_key, a_payment, an_effect
from ..sandbox.conftest import Running, running
from .conftest import Kiosk, Ran
from .test_doctor import STILL

OURS = Terminal("M-DEMO-0001", "S-DEMO-0001", "T-DEMO-0001", "demo", "Corner Shop")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox with TLS, and the kiosk that shares its folder."""
    with running(tmp_path_factory.mktemp("secured"), "--tls") as sandbox:
        yield sandbox


def tls_of(sandbox: Running, folder: Path | None = None) -> Tls:
    key = TlsKey.of(folder or sandbox.folder, sandbox.key)
    assert sandbox.trust.tls is not None
    return Tls(sandbox.trust.tls, TlsIdentity(key.file, key.password))


def tls_line(kiosk: Kiosk, folder: Path, *options: object) -> dict[str, str]:
    ran = kiosk("doctor", "--json", "--camera", STILL, "--data-dir", folder, *options)
    return {check["name"]: check for check in json.loads(ran.out)["checks"]}["tls"]


@pytest.fixture
def apart(secured: Running, data_dir: Path) -> Path:
    """A kiosk elsewhere that was given the sandbox's acquirer.json."""
    data_dir.mkdir()
    (data_dir / "acquirer.json").write_bytes((secured.folder / "sandbox" / "acquirer.json").read_bytes())
    return data_dir


@pytest.fixture
def registered(kiosk: Kiosk, secured: Running, apart: Path) -> Path:
    """Its signing key and its TLS key are enrolled; the certificate is not installed yet."""
    done(kiosk("keys", "make", "--data-dir", apart))
    done(kiosk("keys", "csr", "--out", apart / "key.csr", "--data-dir", apart))
    done(kiosk("sandbox", "trust", apart / "key.csr", "--data-dir", secured.folder))
    done(kiosk("keys", "tls", "make", "--data-dir", apart))
    certify(kiosk, secured, apart)
    return apart


def certify(kiosk: Kiosk, secured: Running, apart: Path) -> None:
    done(kiosk("keys", "tls", "csr", "--out", apart / "tls.csr", "--data-dir", apart))
    certificate = apart / "tls.crt"
    done(kiosk("sandbox", "certify", apart / "tls.csr", "--out", certificate, "--data-dir", secured.folder))


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran
    return ran


# --- a kiosk that shares the folder ---------------------------------------------------------------------


def test_a_kiosk_that_shares_the_folder_pays_over_tls_at_once(secured: Running) -> None:
    assert secured.address.startswith("https://")
    reply = secured.client(tls=tls_of(secured)).send(a_payment(an_effect(), terminal=OURS))
    assert isinstance(reply, Verified)
    assert reply.answer.result is Result.APPROVED


def test_the_doctor_says_who_is_at_both_ends(kiosk: Kiosk, secured: Running) -> None:
    found = tls_line(kiosk, secured.folder)
    assert found["status"] == "green"
    assert "for T-DEMO-0001" in found["detail"]


def test_a_certificate_speaks_for_its_terminal_only(secured: Running) -> None:
    """Another terminal's key over this terminal's line, for money and for questions."""
    tls, stranger = tls_of(secured), a_key()
    listed = secured.folder / "sandbox" / "terminals.json"
    listed.write_bytes(msgspec.json.encode({stranger.key_id: stranger.public_key_der()}))
    effect, other = an_effect(), Terminal("m-1", "s-1", "t-1", "demo", "Shop")
    assert secured.client(stranger, tls=tls).send(a_payment(effect, terminal=other)).code == "terminal"
    assert secured.client(stranger, tls=tls).send(status_request(effect.ref)).code == "not_found"
    assert isinstance(secured.client(stranger, tls=tls).send(policy_request()), PolicyReceived)


def test_a_kiosk_without_a_certificate_has_sent_nothing(secured: Running) -> None:
    assert secured.trust.tls is not None
    reply = secured.client(tls=Tls(secured.trust.tls)).send(a_payment(an_effect(), terminal=OURS))
    assert isinstance(reply, Unsent)
    assert reply.code == "own_missing"


# --- a kiosk elsewhere ----------------------------------------------------------------------------------


def test_a_kiosk_elsewhere_is_certified_by_hand(kiosk: Kiosk, registered: Path) -> None:
    assert tls_line(kiosk, registered)["status"] == "red"
    assert json.loads(done(kiosk("keys", "tls", "show", "--json", "--data-dir", registered)).out) == {
        "installed": False
    }
    installed = done(kiosk("keys", "tls", "install", registered / "tls.crt", "--data-dir", registered))
    assert "for terminal T-DEMO-0001 by CN=sandbox root" in installed.out
    shown = json.loads(done(kiosk("keys", "tls", "show", "--json", "--data-dir", registered)).out)
    assert (shown["terminal"], shown["installed"]) == ("T-DEMO-0001", True)
    assert 29 < shown["days_left"] <= 30
    assert tls_line(kiosk, registered)["status"] == "green"
    assert done(kiosk("resolve", "--data-dir", registered)).out


def test_a_certificate_is_renewed_and_its_key_followed_by_another(
    kiosk: Kiosk, secured: Running, registered: Path
) -> None:
    for again in (False, True):
        if again:
            done(kiosk("keys", "tls", "make", "--data-dir", registered))
            certify(kiosk, secured, registered)
        done(kiosk("keys", "tls", "install", registered / "tls.crt", "--data-dir", registered))
        assert tls_line(kiosk, registered)["status"] == "green"


def test_a_certificate_for_another_terminal_is_refused_on_both_sides(
    kiosk: Kiosk, secured: Running, registered: Path
) -> None:
    done(kiosk("keys", "tls", "install", registered / "tls.crt", "--data-dir", registered))
    moved = registered / "moved.toml"
    moved.write_text('[store]\nterminal_id = "T-2"\n')
    refused = kiosk(
        "keys", "tls", "install", registered / "tls.crt", "--data-dir", registered, "--config", moved
    )
    assert refused.code == 2
    assert "for terminal T-DEMO-0001, and this is T-2" in refused.err


def test_a_revoked_certificate_is_refused_and_said(kiosk: Kiosk, secured: Running, registered: Path) -> None:
    done(kiosk("keys", "tls", "install", registered / "tls.crt", "--data-dir", registered))
    shown = json.loads(done(kiosk("keys", "tls", "show", "--json", "--data-dir", registered)).out)
    done(kiosk("sandbox", "revoke", shown["serial"], "--data-dir", secured.folder))
    ran = kiosk("doctor", "--json", "--camera", STILL, "--data-dir", registered)
    found = {check["name"]: check for check in json.loads(ran.out)["checks"]}["acquirer"]
    assert found["status"] == "red"
    assert "is revoked" in found["detail"]
    assert "kiosk keys tls csr" in found["action"]
    # it is the certificate, not the kiosk: a new one is taken
    certify(kiosk, secured, registered)
    done(kiosk("keys", "tls", "install", registered / "tls.crt", "--data-dir", registered))
    assert kiosk("resolve", "--data-dir", registered).code == 0


def test_a_certificate_that_has_expired_is_said(kiosk: Kiosk, secured: Running, registered: Path) -> None:
    past = Authority(secured.folder / "sandbox", now_s=lambda: time.time() - 31 * 86_400)
    (registered / "tls.crt").write_bytes(past.certify((registered / "tls.csr").read_bytes()))
    old = done(kiosk("keys", "tls", "install", registered / "tls.crt", "--data-dir", registered))
    assert "its time is over" in old.out
    found = tls_line(kiosk, registered)
    assert found["status"] == "red"
    assert "this kiosk's certificate, which ended" in found["detail"]
    assert "timedatectl" in found["action"]


def test_a_certificate_that_ends_soon_is_amber(kiosk: Kiosk, secured: Running, registered: Path) -> None:
    soon = Authority(secured.folder / "sandbox").certify((registered / "tls.csr").read_bytes(), days=3)
    (registered / "tls.crt").write_bytes(soon)
    done(kiosk("keys", "tls", "install", registered / "tls.crt", "--data-dir", registered))
    found = tls_line(kiosk, registered)
    assert (found["status"], "kiosk keys tls csr" in found["action"]) == ("amber", True)


def test_another_server_than_the_pinned_one_is_red_and_not_to_be_gone_round(
    kiosk: Kiosk, apart: Path
) -> None:
    trust = json.loads((apart / "acquirer.json").read_text())
    trust["tls"]["pins"] = [f"sha256/{'A' * 42}{end}=" for end in "AE"]
    (apart / "acquirer.json").write_text(json.dumps(trust))
    found = tls_line(kiosk, apart)
    assert found["status"] == "red"
    assert "does not pin" in found["detail"]
    assert "somebody may stand between" in found["action"]


def test_no_connection_is_not_blamed_on_certificates(kiosk: Kiosk, apart: Path) -> None:
    trust = json.loads((apart / "acquirer.json").read_text()) | {"base_url": "https://127.0.0.1:1"}
    (apart / "acquirer.json").write_text(json.dumps(trust))
    found = tls_line(kiosk, apart)
    assert (found["status"], found["detail"].startswith("unavailable: ")) == ("amber", True)


@pytest.mark.parametrize(
    "change", [lambda trust: trust.pop("tls"), lambda trust: trust.update(base_url="http://127.0.0.1:1")]
)
def test_production_refuses_an_acquirer_whose_line_proves_nothing(kiosk: Kiosk, apart: Path, change) -> None:
    trust = json.loads((apart / "acquirer.json").read_text())
    change(trust)
    trust.pop("tls", None)
    (apart / "acquirer.json").write_text(json.dumps(trust))
    (apart / "kiosk.toml").write_text('mode = "production"\n')
    found = tls_line(kiosk, apart)
    assert found["status"] == "red"
    assert "production wants an https address" in found["detail"]
    refused = kiosk("resolve", "--data-dir", apart)
    assert refused.code == 2
    assert "production wants" in refused.err


# --- wrong use ------------------------------------------------------------------------------------------


def test_wrong_use_is_one_line(kiosk: Kiosk, secured: Running, apart: Path) -> None:
    signing = apart / "key.csr"
    done(kiosk("keys", "csr", "--out", signing, "--data-dir", apart))
    for arguments, what in (
        (("keys", "tls", "csr"), "kiosk keys tls make"),
        (("keys", "tls", "install", apart / "none"), "No such file"),
        (("sandbox", "certify", signing), "not a kiosk's request"),
        (("sandbox", "certify", apart / "none"), "No such file"),
        (("sandbox", "revoke", "xyz"), "no serial"),
    ):
        ran = kiosk(*arguments, "--data-dir", apart)
        assert ran.code == 2, ran
        assert what in ran.err
        assert ran.err.count("\n") == 1
    done(kiosk("keys", "tls", "make", "--data-dir", apart))
    assert kiosk("keys", "tls", "make", "--data-dir", apart).code == 2
    unwritable = kiosk("keys", "tls", "csr", "--out", apart / "no" / "x.csr", "--data-dir", apart)
    assert "cannot be written" in unwritable.err
    assert "BEGIN CERTIFICATE REQUEST" in done(kiosk("keys", "tls", "csr", "--data-dir", apart)).out
    assert "no certificate" in done(kiosk("keys", "tls", "show", "--data-dir", apart)).out


def test_a_folder_of_another_acquirers_kiosk_is_left_alone(kiosk: Kiosk, apart: Path) -> None:
    with running(apart, "--tls"):
        assert not (apart / "tls.pem").exists()


def test_a_damaged_list_of_revoked_certificates_stops_everything(secured: Running) -> None:
    listed = secured.folder / "sandbox" / "revoked.json"
    before = listed.read_bytes() if listed.exists() else b"[]"
    listed.write_bytes(b"{")
    reply = secured.client(tls=tls_of(secured)).send(policy_request())
    listed.write_bytes(before)
    assert isinstance(reply, Lost)
    assert reply.code == "unavailable"
