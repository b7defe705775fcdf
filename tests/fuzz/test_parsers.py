"""Whatever bytes come in, from the network or from a file: what is no message is refused as the parser says.

Two kinds of noise: any bytes at all, and good ones with some bytes changed, cut out, doubled or put in. Only
the documented errors may come out. Tills' frames: tests/till. Thousands more with `make protocol-test`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.acquirer import messages, operations
from kiosk.acquirer.jwe import PIN_TYP, Recipient, seal
from kiosk.acquirer.licence import Scheme, load_roots
from kiosk.acquirer.messages import Message, Operation, parse
from kiosk.acquirer.policy import POLICY_TYP, PolicyStore
from kiosk.acquirer.signing import TrustedKeys, sign_jws, verify_jws
from kiosk.acquirer.trust import load_trust
from kiosk.app.config import load
from kiosk.devices.tls_key import TlsKey
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import PinKey
from kiosk.sandbox.ca import Authority
from kiosk.sandbox.keys import Terminals, private_key

from ..acquirer.parts import a_key, a_payment, a_reversal, an_effect

WHOLE = os.environ.get("PROTOCOL_TESTS") == "whole"
fuzzed = settings(
    max_examples=5000 if WHOLE else 60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def near(draw: st.DrawFn, good: bytes) -> bytes:
    """`good` with one to four places that are not."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        data[start:end] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[start:end]) * 2)))
    return bytes(data)


def noise(*good: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(max_size=200), *(near(one) for one in good))


def only(error: type[Exception], call: Callable[[], Any]) -> None:
    """Either it is read, or refused in one line that is fit for a log and a screen."""
    said = ""
    try:
        call()
    except error as refusal:
        said = str(refusal)
    assert not said or said.isprintable()


# --- the network ----------------------------------------------------------------------------------------

KINDS = sorted(
    {
        kind
        for module in (messages, operations)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
    },
    key=lambda kind: kind.__name__,
)
EFFECT = an_effect()
PAYMENT, REVERSAL = a_payment(EFFECT).body or b"", a_reversal(EFFECT).body or b""
ANSWER = msgspec.json.encode(
    {"version": 1, "operation": "payment", "ref": EFFECT.ref, "result": "approved", "approval": "A1",
     "rrn": "1", "limits_left": {"currency": "CNY", "person_day": 5}}
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_is_read_or_refused(kind: type[Message]) -> None:
    @fuzzed
    @given(body=noise(PAYMENT, REVERSAL, ANSWER))
    def run(body: bytes) -> None:
        only(ProtocolError, lambda: parse(body, kind))

    run()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
)


@fuzzed
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_a_field_of_any_value_is_read_or_refused(kind: type[Message], data: st.DataObject) -> None:
    body = {field.encode_name: data.draw(JSON) for field in msgspec.structs.fields(kind)}
    only(ProtocolError, lambda: parse(json.dumps(body).encode(), kind))


@pytest.mark.parametrize("depth", [100, 100_000])
def test_what_is_nested_too_deep_is_refused(depth: int) -> None:
    for opening in (b"[", b'{"a":', b'{"amount":'):
        with pytest.raises(ProtocolError):
            parse((opening * depth)[:60_000], messages.PaymentRequest)


@fuzzed
@given(operation=st.sampled_from(get_args(Operation)), body=noise(ANSWER))
def test_a_limit_is_known_for_every_operation(operation: Operation, body: bytes) -> None:
    assert operations.body_limit(operation) >= len(body)


KEY = a_key()
TRUSTED = TrustedKeys({KEY.key_id: KEY.public_key_der()})
JWS = sign_jws(KEY, POLICY_TYP, b'{"version":1}')


@fuzzed
@given(jws=noise(JWS))
def test_a_jws_is_good_or_refused(jws: bytes) -> None:
    if jws == JWS:
        return
    with pytest.raises(ProtocolError) as refusal:
        verify_jws(jws, POLICY_TYP, TRUSTED)
    assert "\n" not in str(refusal.value)


@dataclass(frozen=True)
class Sealed:
    """A PIN that was sealed, and who may open it."""

    recipient: Recipient
    jwe: str


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    path = tmp_path_factory.mktemp("pin") / "pin.key"
    key = private_key(path)
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Sealed(Recipient(key, "pin-1"), seal(b"246810", PIN_TYP, EFFECT.ref, PinKey("pin-1", der)))


@fuzzed
@given(data=st.data())
def test_a_jwe_is_opened_or_refused(sealed: Sealed, data: st.DataObject) -> None:
    text = data.draw(noise(sealed.jwe.encode())).decode("latin-1")
    only(ProtocolError, lambda: sealed.recipient.open(text, PIN_TYP, EFFECT.ref))


def test_a_jwe_with_any_bit_changed_or_byte_removed_is_refused(sealed: Sealed) -> None:
    good = sealed.jwe
    assert sealed.recipient.open(good, PIN_TYP, EFFECT.ref) == b"246810"
    for place, character in enumerate(good):
        for other in (*(chr(ord(character) ^ 1 << bit) for bit in range(7)), ""):
            with pytest.raises(ProtocolError):
                sealed.recipient.open(good[:place] + other + good[place + 1 :], PIN_TYP, EFFECT.ref)
    with pytest.raises(ProtocolError):
        sealed.recipient.open(good, PIN_TYP, an_effect().ref)
    with pytest.raises(ProtocolError):
        sealed.recipient.open(good, "facepay-template+jwe", EFFECT.ref)


# --- files ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


ENCODED = {KEY.key_id: base64.b64encode(KEY.public_key_der()).decode()}
PINS = ["sha256/" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
TRUST = json.dumps(
    {"base_url": "https://x", "acquirer_keys": ENCODED, "policy_keys": ENCODED, "tls": {"pins": PINS}}
).encode()
CONFIG = b'mode = "test"\n[store]\npayee = "Shop"\ncurrency = "CNY"\n[limits]\nper_payment_minor = 5\n'


@fuzzed
@given(content=noise(TRUST))
def test_a_trust_file_is_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "acquirer.json"
    path.write_bytes(content)
    only(OperatorError, lambda: load_trust(path))


@fuzzed
@given(content=noise(json.dumps({"roots": ENCODED}).encode(), json.dumps(ENCODED).encode()))
def test_a_schemes_file_is_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "scheme.json"
    path.write_bytes(content)
    only(OperatorError, lambda: load_roots(path))


@fuzzed
@given(content=noise(JWS, sign_jws(KEY, POLICY_TYP, b'{"version":1,"licence":"a.b.c"}')))
def test_a_policy_that_came_or_lies_there_is_believed_only_whole(folder: Path, content: bytes) -> None:
    roots = {KEY.key_id: KEY.public_key_der()}
    store = PolicyStore(folder / "policy.jws", roots, Scheme(roots, sandbox=True), bytes(32))
    with pytest.raises(ProtocolError):
        store.accept(content, 1.8e9)
    (folder / "policy.jws").write_bytes(content)
    assert store.load(1.8e9) is None
    assert store.problem
    assert "\n" not in store.problem


@fuzzed
@given(content=noise(CONFIG))
def test_a_configuration_is_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "kiosk.toml"
    path.write_bytes(content)
    only(OperatorError, lambda: load(path, folder))


@fuzzed
@given(content=noise(json.dumps(ENCODED).encode()))
def test_a_list_of_terminals_is_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / "terminals.json").write_bytes(content)
    only(OperatorError, lambda: Terminals(folder, folder).find(KEY.key_id))


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[TlsKey, Authority, bytes, bytes]:
    folder = tmp_path_factory.mktemp("tls")
    authority, key = Authority(folder), TlsKey(tmp_path_factory.mktemp("kiosk"), bytes(32))
    key.make()
    _, request = key.request(merchant_id="m", terminal_id="t")
    return key, authority, request, authority.certify(request)


@fuzzed
@given(data=st.data())
def test_a_certificate_is_taken_or_refused(certified: Any, folder: Path, data: st.DataObject) -> None:
    key, _, _, good = certified
    path = folder / "x.crt"
    path.write_bytes(data.draw(noise(good)))
    only(OperatorError, lambda: key.install(path, terminal_id="t"))


@fuzzed
@given(data=st.data())
def test_a_request_for_a_certificate_is_certified_or_refused(certified: Any, data: st.DataObject) -> None:
    _, authority, good, _ = certified
    content = data.draw(noise(good))
    only(OperatorError, lambda: authority.certify(content))
