from __future__ import annotations

import base64
import json

import pytest

from kiosk.acquirer.trust import load_trust
from kiosk.domain.errors import OperatorError

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


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(OperatorError, match="No such file"):
        load_trust(tmp_path / "acquirer.json")


def test_a_file_that_may_not_be_read_is_not_asked_for_again(tmp_path):
    with of_somebody_else(tmp_path), pytest.raises(OperatorError, match=r"denied\)\. Run as the owner"):
        load_trust(tmp_path / "acquirer.json")
