from __future__ import annotations

import base64
import json

import pytest

from kiosk.acquirer.tls import TlsTrust
from kiosk.acquirer.trust import load_trust
from kiosk.domain.errors import OperatorError
from kiosk.sandbox.ca import Authority

from ..permissions import of_somebody_else
from .parts import a_key

KEY = a_key()
ENCODED = {KEY.key_id: base64.b64encode(KEY.public_key_der()).decode()}
GOOD = {"base_url": "http://127.0.0.1:1", "acquirer_keys": ENCODED, "policy_keys": ENCODED}


def test_address_and_keys_are_read(tmp_path):
    path = tmp_path / "acquirer.json"
    path.write_text(json.dumps(GOOD))
    trust = load_trust(path)
    assert trust.base_url == "http://127.0.0.1:1"
    assert trust.acquirer_keys == trust.policy_keys == {KEY.key_id: KEY.public_key_der()}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        json.dumps({"base_url": "x"}),
        json.dumps(GOOD | {"more": 1}),
        json.dumps(GOOD | {"acquirer_keys": {"k": "AAAA"}}),
        json.dumps(GOOD | {"acquirer_keys": {"k": "not base64!"}}),
        json.dumps(GOOD | {"policy_keys": {}}),
        json.dumps(GOOD | {"acquirer_keys": {}}),
    ],
)
def test_a_file_that_is_no_acquirers_is_said_in_one_line(tmp_path, content):
    path = tmp_path / "acquirer.json"
    path.write_text(content)
    with pytest.raises(OperatorError) as caught:
        load_trust(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


PINS = ["sha256/" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
HTTPS = GOOD | {"base_url": "https://acquirer.example"}


def with_tls(tmp_path, **tls):
    path = tmp_path / "acquirer.json"
    path.write_text(json.dumps(HTTPS | {"tls": tls}))
    return load_trust(path)


def test_ca_and_pins_of_the_acquirer_are_read(tmp_path):
    root = Authority(tmp_path).root_der
    encoded = base64.b64encode(root).decode()
    assert with_tls(tmp_path, ca=[encoded], pins=PINS).tls == TlsTrust((root,), frozenset(PINS))
    assert with_tls(tmp_path, ca=[encoded]).tls == TlsTrust((root,))
    assert with_tls(tmp_path, pins=PINS).tls == TlsTrust((), frozenset(PINS))


@pytest.mark.parametrize(
    ("tls", "why"),
    [
        ({}, "neither a CA nor pins"),
        ({"ca": ["AAAA"]}, "no certificate"),
        ({"pins": PINS[:1]}, "one key only"),
        ({"pins": [PINS[0], PINS[0]]}, "one key only"),
        ({"pins": [PINS[0], "sha1/AAAA"]}, "written sha256/"),
        ({"pins": [PINS[0], PINS[1][:-2] + "B="]}, "written sha256/"),  # another spelling of the same bytes
        ({"pins": PINS, "more": 1}, "more"),
    ],
)
def test_a_tls_part_that_proves_nothing_is_refused(tmp_path, tls, why):
    with pytest.raises(OperatorError, match=why) as caught:
        with_tls(tmp_path, **tls)
    assert str(caught.value).startswith(str(tmp_path))


def test_tls_is_for_https(tmp_path):
    path = tmp_path / "acquirer.json"
    path.write_text(json.dumps(GOOD | {"tls": {"pins": PINS}}))
    with pytest.raises(OperatorError, match="https"):
        load_trust(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(OperatorError, match="No such file"):
        load_trust(tmp_path / "acquirer.json")


def test_a_file_that_may_not_be_read_is_not_asked_for_again(tmp_path):
    with of_somebody_else(tmp_path), pytest.raises(OperatorError, match=r"denied\)\. Run as the owner"):
        load_trust(tmp_path / "acquirer.json")
