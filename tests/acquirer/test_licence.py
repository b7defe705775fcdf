"""The scheme's roots: a file of their own, believed only when every key in it is one."""

from __future__ import annotations

import base64
import json

import pytest

from kiosk.acquirer.licence import load_roots
from kiosk.domain.errors import OperatorError

from .parts import a_key

DER = a_key().public_key_der()


def test_the_roots_of_a_scheme_are_read(tmp_path):
    path = tmp_path / "scheme.json"
    path.write_text(json.dumps({"roots": {"root-1": base64.b64encode(DER).decode()}}))
    assert load_roots(path) == {"root-1": DER}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a scheme's file"),
        (b"\xff", "not a scheme's file"),
        (b'{"roots": {}}', "names no root"),
        (b'{"roots": {"a": "AAAA"}}', "not a P-256 public key"),
        (b'{"roots": {"a": "AAAA"}, "more": 1}', "not a scheme's file"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, content, why):
    path = tmp_path / "scheme.json"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=why) as refused:
        load_roots(path)
    assert (refused.value.where, "\n" in str(refused.value)) == (str(path), False)
    assert "scheme.json" in refused.value.do


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(OperatorError, match="cannot be read"):
        load_roots(tmp_path / "scheme.json")
