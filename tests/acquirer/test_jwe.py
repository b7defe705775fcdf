"""What is sealed for the acquirer: opened by its key alone, for what it belongs to, unchanged."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kiosk.acquirer.jwe import PIN_TYP, TEMPLATE_TYP, Recipient, seal
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import PinKey

PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = PinKey(
    "pin-1",
    PRIVATE.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ),
)
ACQUIRER = Recipient(PRIVATE, "pin-1")
SEALED = seal(b"content", PIN_TYP, "ref-1", KEY)


def test_the_acquirer_reads_what_was_sealed_and_nobody_else_sees_it():
    assert ACQUIRER.open(SEALED, PIN_TYP, "ref-1") == b"content"
    assert len(SEALED.split(".")) == 5
    assert b"content" not in b"".join(
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in SEALED.split(".")
    )
    assert seal(b"content", PIN_TYP, "ref-1", KEY) != SEALED


@pytest.mark.parametrize(
    ("typ", "ref", "who"),
    [
        (TEMPLATE_TYP, "ref-1", ACQUIRER),
        (PIN_TYP, "ref-2", ACQUIRER),
        (PIN_TYP, "ref-1", Recipient(PRIVATE, "pin-2")),
        (PIN_TYP, "ref-1", Recipient(ec.generate_private_key(ec.SECP256R1()), "pin-1")),
    ],
    ids=["another type", "another attempt", "another key id", "another key"],
)
def test_it_opens_for_nothing_else(typ, ref, who):
    with pytest.raises(ProtocolError):
        who.open(SEALED, typ, ref)


@pytest.mark.parametrize("place", range(0, len(SEALED), 7))
def test_a_changed_or_missing_character_opens_nothing(place):
    other = "A" if SEALED[place] != "A" else "B"
    for changed in (SEALED[:place] + other + SEALED[place + 1 :], SEALED[:place] + SEALED[place + 1 :]):
        with contextlib.suppress(ProtocolError):
            # The last character of a part may carry unused bits: then it is the same JWE.
            assert ACQUIRER.open(changed, PIN_TYP, "ref-1") == b"content"
            assert changed[place] != SEALED[place]
            assert place + 1 == len(SEALED) or SEALED[place + 1] == "."


@given(st.text(max_size=80) | st.from_regex(r"([A-Za-z0-9_-]{0,20}\.){4}[A-Za-z0-9_-]{0,20}", fullmatch=True))
def test_whatever_comes_is_opened_or_refused(text):
    with pytest.raises(ProtocolError):
        ACQUIRER.open(text, PIN_TYP, "ref-1")


def test_a_key_that_is_none_is_said():
    with pytest.raises(OperatorError):
        seal(b"content", PIN_TYP, "ref-1", PinKey("pin-1", b"no key"))
