"""Which key signs, and how one follows another: on a real SoftHSM2 token, with crashes between the steps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import ObjectClass

from kiosk.devices.key_token import LIFETIME_S, OVERLAP_S, Keys, TokenRing
from kiosk.domain.errors import OperatorError

from ..tokens import SoftToken, soft_token

NOW = 1_795_564_800.0


@pytest.fixture
def soft() -> Iterator[SoftToken]:
    with soft_token() as made:
        yield made


@pytest.fixture
def ring(soft: SoftToken, tmp_path) -> TokenRing:
    return soft.ring(tmp_path / "data")


class PowerCutError(Exception):
    pass


def pairs(ring: TokenRing) -> int:
    def count(module):
        found = ring.token._search(module, {})
        return sum(one.object_class is ObjectClass.PRIVATE_KEY for one in found)

    return ring.token._call(count)


def test_without_a_key_the_kiosk_says_how_to_make_one(ring):
    assert ring.keys() == Keys()
    with pytest.raises(OperatorError, match="kiosk keys make"):
        ring.current()


def test_the_first_key_is_made_once(ring):
    key = ring.make(NOW)
    assert key.key_class == "hardware"
    assert key.key_id.startswith("hw-")
    assert ring.current().key_id == key.key_id
    assert (ring.folder / "keys.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OperatorError, match="there is a key already"):
        ring.make(NOW)
    assert pairs(ring) == 1


def test_a_whole_rotation_has_two_live_ids_and_ends_with_one(ring):
    first = ring.make(NOW)
    sealed = first.derive("gallery")
    second = ring.prepare(NOW + 1)
    assert ring.prepare(NOW + 2).key_id == second.key_id
    assert ring.current().key_id == first.key_id  # the successor signs when the acquirer knows it

    keys = ring.activate(NOW + 3)
    assert ring.current().key_id == second.key_id
    assert keys.old is not None
    assert (keys.old.key_id, keys.old.until_s) == (first.key_id, int(NOW) + 3 + OVERLAP_S)
    first.sign(b"still live: a process that holds it goes on")
    with pytest.raises(OperatorError, match="Two keys live at once"):
        ring.prepare(NOW + OVERLAP_S)
    assert ring.retire(NOW + OVERLAP_S) == ""
    assert pairs(ring) == 2

    assert ring.retire(NOW + 3 + OVERLAP_S) == first.key_id
    assert ring.retire(NOW + 3 + OVERLAP_S) == ""
    assert pairs(ring) == 1
    with pytest.raises(OperatorError, match="not on the token"):
        first.sign(b"m")
    assert ring.current().derive("gallery") == sealed  # the gallery outlives every key
    assert LIFETIME_S - OVERLAP_S == 83 * 86_400


def test_an_old_key_that_nobody_retired_goes_with_the_next_change(ring):
    ring.make(NOW)
    for number in range(3):
        ring.prepare(NOW + number * LIFETIME_S)
        ring.activate(NOW + number * LIFETIME_S)
    assert pairs(ring) == 2


def test_a_state_that_may_not_be_read_is_said(ring, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied")

    ring.make(NOW)
    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    with pytest.raises(OperatorError, match=r"keys\.json: cannot be read"):
        TokenRing(ring.folder, ring.token).current()


def test_nothing_is_activated_that_was_not_made(ring):
    ring.make(NOW)
    with pytest.raises(OperatorError, match="no successor was made"):
        ring.activate(NOW)


@pytest.mark.parametrize("step", ["before the pair", "after the pair"])
@pytest.mark.parametrize("what", ["make", "prepare"])
def test_a_cut_while_a_key_is_made_leaves_no_pair_behind(ring, monkeypatch, what, step):
    if what == "prepare":
        ring.make(NOW)
    make_pair = ring.token.make_pair

    def cut(cka_id):
        if step == "after the pair":
            make_pair(cka_id)
        raise PowerCutError

    monkeypatch.setattr(ring.token, "make_pair", cut)
    with pytest.raises(PowerCutError):
        getattr(ring, what)(NOW)
    monkeypatch.undo()
    if what == "make":
        with pytest.raises(OperatorError, match="no key on its token yet"):
            ring.current()
    key = getattr(ring, what)(NOW + 5)
    key.sign(b"m")
    assert pairs(ring) == (1 if what == "make" else 2)


def test_a_cut_while_the_old_key_is_destroyed_is_made_good(ring, monkeypatch):
    ring.make(NOW)
    ring.prepare(NOW)
    old = ring.activate(NOW).old

    def cut(keys):
        raise PowerCutError

    monkeypatch.setattr(ring, "_write", cut)
    with pytest.raises(PowerCutError):
        ring.retire(NOW + OVERLAP_S + 1)
    monkeypatch.undo()
    assert ring.retire(NOW + OVERLAP_S + 1) == old.key_id
    assert pairs(ring) == 1


def test_a_running_kiosk_follows_a_rotation_that_another_process_made(soft, ring):
    first = ring.make(NOW)
    code = (
        "import sys; from pathlib import Path; from kiosk.devices.key_token import TokenRing;"
        "from kiosk.devices.token import *;"
        "module, data, pin = sys.argv[1:];"
        "token = Token(lambda: load_module(module), 'kiosk', lambda: PinFile.find(pin));"
        "ring = TokenRing(Path(data), token);"
        f"print(ring.prepare({NOW}).key_id); ring.activate({NOW})"
    )
    command = [sys.executable, "-c", code, str(soft.module), str(ring.folder), str(soft.pin_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    now = ring.current()
    assert now.key_id == done.stdout.strip() != first.key_id
    now.sign(b"m")


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 2}', b'{"current": {"object": "00"}}', b"\xff"])
def test_a_damaged_state_is_said(ring, content):
    ring.make(NOW)
    (ring.folder / "keys.json").write_bytes(content)
    with pytest.raises(OperatorError, match=r"keys\.json: damaged"):
        ring.current()


P384 = ec.generate_private_key(ec.SECP384R1()).public_key()
DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("public", [b"no key", P384.public_bytes(*DER)], ids=["none", "P-384"])
def test_a_state_whose_key_is_none_is_said(ring, public):
    ring.make(NOW)
    entry = msgspec.structs.replace(ring.keys().current, public=public)
    ring._write(Keys(current=entry))
    with pytest.raises(OperatorError, match=r"keys\.json: damaged"):
        ring.current()


def test_another_token_of_the_same_name_is_noticed_before_a_signature_leaves(ring):
    key = ring.make(NOW)
    cka_id = bytes.fromhex(key.entry.object)
    ring.token.destroy(cka_id)
    ring.token.make_pair(cka_id)
    with pytest.raises(OperatorError, match="signed with another key"):
        key.sign(b"m")


def test_a_folder_that_cannot_be_written_is_said(ring, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    ring.make(NOW)
    before = ring.keys()
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OperatorError, match="No space left on device"):
        ring.prepare(NOW)
    assert ring.keys() == before
