from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kiosk.acquirer.messages import CeilingTerms, PolicyTerms, encode
from kiosk.acquirer.policy import POLICY_TYP, PolicyStore
from kiosk.acquirer.signing import sign_jws
from kiosk.domain.errors import OperatorError, ProtocolError

from .parts import a_key

KEY = a_key()
NOW = datetime(2026, 11, 25, tzinfo=UTC).timestamp()


def a_policy(version=1, expires_s=NOW + 3_600, key=KEY, typ=POLICY_TYP, per_payment=100):
    terms = PolicyTerms(
        version=version,
        expires=datetime.fromtimestamp(expires_s, UTC),
        currency="CNY",
        provider="P",
        licence="L",
        face_allowed=True,
        ceiling=CeilingTerms(per_payment=per_payment),
    )
    return sign_jws(key, typ, encode(terms))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.jws"


@pytest.fixture
def store(path):
    return PolicyStore(path, {KEY.key_id: KEY.public_key_der()})


def test_without_a_policy_there_is_none(store):
    assert store.load() is None


def test_an_accepted_policy_is_there_after_a_restart(store, path):
    accepted = store.accept(a_policy(version=7), NOW)
    assert accepted.version == 7
    assert PolicyStore(path, {KEY.key_id: KEY.public_key_der()}).load() == accepted


def test_a_newer_policy_replaces_an_older_one_and_never_the_other_way(store):
    store.accept(a_policy(version=2, per_payment=50), NOW)
    store.accept(a_policy(version=3, per_payment=40), NOW)
    with pytest.raises(ProtocolError, match="never goes back"):
        store.accept(a_policy(version=2, per_payment=50), NOW)
    assert store.load().ceiling.per_payment == 40


def test_the_same_version_has_one_wording(store):
    store.accept(a_policy(version=2), NOW)
    store.accept(a_policy(version=2), NOW)  # signed again
    with pytest.raises(ProtocolError, match="two wordings"):
        store.accept(a_policy(version=2, per_payment=101), NOW)


def test_an_expired_policy_is_not_accepted_but_a_stored_one_can_still_be_read(store):
    store.accept(a_policy(), NOW)
    with pytest.raises(ProtocolError, match="expired"):
        store.accept(a_policy(version=2, expires_s=NOW), NOW)
    assert store.load().expires_s == NOW + 3_600


@pytest.mark.parametrize(
    "jws", [b"", b"x.y.z", a_policy(key=a_key()), a_policy(typ="other+jws"), sign_jws(KEY, POLICY_TYP, b"{}")]
)
def test_what_is_no_policy_of_this_acquirer_is_refused(store, jws):
    with pytest.raises(ProtocolError):
        store.accept(jws, NOW)
    assert store.load() is None


@pytest.mark.parametrize("content", [b"", b"junk", a_policy(key=a_key())])
def test_a_stored_file_that_is_none_is_said_in_one_line(store, path, content):
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="Delete it"):
        store.load()


def test_a_disk_that_refuses_is_said(tmp_path):
    keys = {KEY.key_id: KEY.public_key_der()}
    with pytest.raises(OperatorError, match="can't be stored"):
        PolicyStore(tmp_path / "missing" / "policy.jws", keys).accept(a_policy(), NOW)
    with pytest.raises(OperatorError, match="cannot be read"):
        PolicyStore(tmp_path, keys).load()
