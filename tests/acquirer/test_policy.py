"""The policy store: believed by key, licence and mark; never older, never revived."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.acquirer.licence import FACE_PAYMENT, LICENCE_TYP, Scheme, key_digest
from kiosk.acquirer.messages import CeilingTerms, LicenceTerms, PolicyTerms, encode
from kiosk.acquirer.policy import POLICY_TYP, PolicyStore
from kiosk.acquirer.signing import sign_jws
from kiosk.domain.errors import OperatorError, ProtocolError

from .parts import a_key

KEY, NEXT_KEY, ROOT, NEXT_ROOT = (a_key() for _ in range(4))
NOW = datetime(2026, 11, 25, tzinfo=UTC).timestamp()
SECRET = b"s" * 32


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC)


def a_licence(key=KEY, root=ROOT, typ=LICENCE_TYP, **changes):
    terms = {
        "licence": "L-1",
        "licence_class": "production",
        "provider": "P",
        "services": (FACE_PAYMENT,),
        "policy_keys": (key_digest(key.public_key_der()),),
        "not_before": at(NOW - 86_400),
        "expires": at(NOW + 30 * 86_400),
    }
    return sign_jws(root, typ, encode(LicenceTerms(**terms | changes))).decode()


def a_policy(version=1, expires_s=NOW + 3_600, key=KEY, typ=POLICY_TYP, per_payment=100, **changes):
    terms = PolicyTerms(
        version=version,
        expires=at(expires_s),
        currency="CNY",
        provider="P",
        licence=a_licence(key),
        face_allowed=True,
        ceiling=CeilingTerms(per_payment=per_payment),
    )
    return sign_jws(key, typ, encode(msgspec.structs.replace(terms, **changes)))


@dataclass
class Kiosk:
    """One data folder; `store()` is a new process on it."""

    path: object
    keys: list = field(default_factory=lambda: [KEY])
    roots: list = field(default_factory=lambda: [ROOT])
    sandbox: bool = False
    secret: bytes = SECRET

    def store(self):
        keys, roots = ({key.key_id: key.public_key_der() for key in some} for some in (self.keys, self.roots))
        return PolicyStore(self.path, keys, Scheme(roots, sandbox=self.sandbox), self.secret)

    @property
    def mark(self):
        return self.path.with_name("policy.mark")


@pytest.fixture
def kiosk(tmp_path):
    return Kiosk(tmp_path / "policy.jws")


@pytest.fixture
def store(kiosk):
    return kiosk.store()


def test_without_a_policy_there_is_none(store):
    assert store.load(NOW) is None
    assert (store.problem, store.licence) == ("", None)


def test_an_accepted_policy_is_there_after_a_restart(store, kiosk):
    accepted = store.accept(a_policy(version=7, law_note="Two factors (Act 7)."), NOW)
    assert (accepted.version, accepted.law_note, accepted.licence) == (7, "Two factors (Act 7).", "L-1")
    again = kiosk.store()
    assert again.load(NOW) == accepted
    assert again.licence.terms == store.licence.terms
    assert again.licence.root == ROOT.key_id


def test_a_newer_policy_replaces_an_older_one_and_never_the_other_way(store):
    store.accept(a_policy(version=2, per_payment=50), NOW)
    store.accept(a_policy(version=3, per_payment=40), NOW)
    with pytest.raises(ProtocolError, match="never goes back"):
        store.accept(a_policy(version=2, per_payment=50), NOW)
    assert store.load(NOW).ceiling.per_payment == 40


def test_the_same_version_has_one_wording(store):
    store.accept(a_policy(version=2), NOW)
    store.accept(a_policy(version=2), NOW)  # signed again
    with pytest.raises(ProtocolError, match="two wordings"):
        store.accept(a_policy(version=2, per_payment=101), NOW)


def test_a_policy_that_says_the_same_is_not_written_again(store, kiosk):
    policy = a_policy()
    store.accept(policy, NOW)
    store.accept(a_policy(), NOW)
    assert kiosk.path.read_bytes() == policy


def test_a_renewed_licence_is_kept_under_the_same_version(store, kiosk):
    store.accept(a_policy(), NOW)
    renewed = a_licence(expires=at(NOW + 60 * 86_400))
    store.accept(a_policy(licence=renewed), NOW)
    again = kiosk.store()
    assert again.load(NOW) is not None
    assert again.licence.terms.expires == at(NOW + 60 * 86_400)


def test_an_expired_policy_is_not_accepted_but_a_stored_one_can_still_be_read(store):
    store.accept(a_policy(), NOW)
    with pytest.raises(ProtocolError, match="policy 2 expired"):
        store.accept(a_policy(version=2, expires_s=NOW), NOW)
    assert store.load(NOW + 86_400).expires_s == NOW + 3_600


@pytest.mark.parametrize(
    "jws", [b"", b"x.y.z", a_policy(key=a_key()), a_policy(typ="other+jws"), sign_jws(KEY, POLICY_TYP, b"{}")]
)
def test_what_is_no_policy_of_this_acquirer_is_refused(store, jws):
    with pytest.raises(ProtocolError):
        store.accept(jws, NOW)
    assert store.load(NOW) is None


# --- what lies on the disk ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"junk", a_policy(key=a_key()), a_policy(version=2)])
def test_a_stored_file_that_is_not_believed_is_none_until_the_next_one_comes(store, kiosk, content):
    store.accept(a_policy(version=3), NOW)
    kiosk.path.write_bytes(content)
    again = kiosk.store()
    assert again.load(NOW) is None
    assert again.problem.startswith("the stored policy is not used: ")
    assert again.accept(a_policy(version=3), NOW).version == 3
    assert again.problem == ""
    assert kiosk.store().load(NOW).version == 3


def test_an_older_policy_put_in_the_file_s_place_is_not_used_and_deleting_the_file_resets_nothing(
    store, kiosk
):
    old = a_policy(version=4, per_payment=99_999)
    store.accept(old, NOW)
    store.accept(a_policy(version=5), NOW)
    kiosk.path.write_bytes(old)
    again = kiosk.store()
    assert again.load(NOW) is None
    assert "never goes back" in again.problem
    kiosk.path.unlink()
    with pytest.raises(ProtocolError, match="never goes back"):
        kiosk.store().accept(old, NOW)


@pytest.mark.parametrize("mark", [None, b"", b'{"version":1}\n', b"\xff"])
def test_a_policy_whose_mark_was_taken_away_or_changed_is_not_used(store, kiosk, mark):
    store.accept(a_policy(version=4), NOW)
    if mark is None:
        kiosk.mark.unlink()
    else:
        kiosk.mark.write_bytes(mark)
    again = kiosk.store()
    assert again.load(NOW) is None
    assert "not one that was accepted here" in again.problem
    assert again.accept(a_policy(version=4), NOW).version == 4


def test_a_mark_of_another_kiosk_is_none(store, kiosk):
    store.accept(a_policy(), NOW)
    kiosk.secret = b"t" * 32
    assert kiosk.store().load(NOW) is None


def test_a_crash_between_mark_and_policy_leaves_none_and_no_older_one(store, kiosk):
    store.accept(a_policy(version=1), NOW)
    before = kiosk.path.read_bytes()
    store.accept(a_policy(version=2), NOW)
    kiosk.path.write_bytes(before)  # the mark names 2
    assert kiosk.store().load(NOW) is None
    assert kiosk.store().accept(a_policy(version=2), NOW).version == 2


def test_a_policy_key_that_follows_another_needs_nobody_to_delete_a_file(store, kiosk):
    store.accept(a_policy(version=6), NOW)
    kiosk.keys = [NEXT_KEY]
    rotated = kiosk.store()
    assert rotated.load(NOW) is None
    assert "not pinned" in rotated.problem
    with pytest.raises(ProtocolError, match="never goes back"):
        rotated.accept(a_policy(version=5, key=NEXT_KEY), NOW)
    assert rotated.accept(a_policy(version=6, key=NEXT_KEY), NOW).version == 6
    assert kiosk.store().load(NOW).version == 6


def test_another_scheme_or_provider_counts_its_versions_anew(store, kiosk):
    store.accept(a_policy(version=6), NOW)
    kiosk.roots = [NEXT_ROOT]
    fresh = a_policy(version=1, licence=a_licence(root=NEXT_ROOT))
    assert kiosk.store().accept(fresh, NOW).version == 1
    other = a_policy(version=1, provider="Q", licence=a_licence(root=NEXT_ROOT, provider="Q"), per_payment=1)
    assert kiosk.store().accept(other, NOW).provider == "Q"


def test_while_a_root_follows_another_nothing_goes_back(store, kiosk):
    store.accept(a_policy(version=6), NOW)
    kiosk.roots = [ROOT, NEXT_ROOT]
    with pytest.raises(ProtocolError, match="never goes back"):
        kiosk.store().accept(a_policy(version=5, licence=a_licence(root=NEXT_ROOT)), NOW)


def test_a_disk_that_refuses_is_said(tmp_path):
    with pytest.raises(OperatorError, match="can't be stored"):
        Kiosk(tmp_path / "missing" / "policy.jws").store().accept(a_policy(), NOW)
    with pytest.raises(OperatorError, match="cannot be read"):
        Kiosk(tmp_path).store().load(NOW)


# --- time -----------------------------------------------------------------------------------------------


def test_a_policy_is_over_at_its_expiry_and_stays_so_when_the_clock_is_set_back(store, kiosk):
    policy = store.accept(a_policy(), NOW)
    assert not store.is_over(policy, NOW + 3_599)
    assert store.is_over(policy, NOW + 3_600)
    assert store.is_over(policy, NOW)
    again = kiosk.store()
    loaded = again.load(NOW)
    assert again.is_over(loaded, NOW)
    again.accept(a_policy(version=2), NOW)  # only the acquirer revives it
    assert not again.is_over(again.load(NOW), NOW)


def test_the_same_policy_sent_again_is_in_force_again_after_a_clock_that_was_set_ahead(store):
    policy = store.accept(a_policy(), NOW)
    assert store.is_over(policy, NOW + 10 * 86_400)
    assert not store.is_over(store.accept(a_policy(), NOW), NOW)


def test_a_policy_is_over_though_the_disk_can_t_keep_it(store, kiosk, monkeypatch):
    policy = store.accept(a_policy(), NOW)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kiosk.acquirer.policy.write_whole", full)
    assert store.is_over(policy, NOW + 3_600)
    assert store.is_over(policy, NOW)


def test_what_is_over_is_noted_about_the_newest_policy_only(store, kiosk):
    old = store.accept(a_policy(version=1), NOW)
    kiosk.store().accept(a_policy(version=2, expires_s=NOW + 7_200), NOW)  # by another process
    assert store.is_over(old, NOW + 3_600)
    again = kiosk.store()
    assert not again.is_over(again.load(NOW), NOW + 3_600)


# --- licence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("licence", "why"),
    [
        (a_licence(root=NEXT_ROOT), "no licence by a root of the scheme"),
        (a_licence(typ=POLICY_TYP), "no licence by a root of the scheme"),
        ("a.b.c", "no licence by a root of the scheme"),
        ("", "not a PolicyTerms"),
        (a_licence(provider="Q"), "is for Q, not for P"),
        (a_licence(services=("other",)), "does not cover face_payment"),
        (a_licence(key=NEXT_KEY), "does not cover the key that signed the policy"),
        (a_licence(licence_class="sandbox"), "not for production"),
        (a_licence(not_before=at(NOW + 1)), "is not valid before"),
        (a_licence(expires=at(NOW)), "licence L-1 expired"),
    ],
    ids=lambda part: part if " " in part else "",
)
def test_a_policy_without_a_licence_that_holds_is_refused(store, licence, why):
    with pytest.raises(ProtocolError, match=why):
        store.accept(a_policy(licence=licence), NOW)
    assert store.load(NOW) is None


def test_without_a_scheme_nobody_is_licensed(kiosk):
    kiosk.roots = []
    with pytest.raises(ProtocolError, match=r"scheme\.json"):
        kiosk.store().accept(a_policy(), NOW)


def test_a_key_that_borrows_the_name_of_a_licensed_one_is_not_covered(kiosk):
    class Borrowed:
        key_id = KEY.key_id
        sign = staticmethod(NEXT_KEY.sign)

    jws = sign_jws(
        Borrowed,
        POLICY_TYP,
        encode(
            PolicyTerms(
                version=1,
                expires=at(NOW + 60),
                currency="CNY",
                provider="P",
                licence=a_licence(),
                face_allowed=True,
                ceiling=CeilingTerms(per_payment=1),
            )
        ),
    )
    own = PolicyStore(
        kiosk.path,
        {KEY.key_id: NEXT_KEY.public_key_der()},
        Scheme({ROOT.key_id: ROOT.public_key_der()}, sandbox=False),
        SECRET,
    )
    with pytest.raises(ProtocolError, match="does not cover the key"):
        own.accept(jws, NOW)


def test_a_sandbox_s_licence_will_do_where_sandboxes_are_believed(kiosk):
    kiosk.sandbox = True
    assert kiosk.store().accept(a_policy(licence=a_licence(licence_class="sandbox")), NOW).licence == "L-1"


def test_a_policy_ends_with_its_licence(store, kiosk):
    policy = store.accept(a_policy(licence=a_licence(expires=at(NOW + 600))), NOW)
    assert policy.expires_s == NOW + 600
    assert store.is_over(policy, NOW + 600)
    assert kiosk.store().load(NOW).expires_s == NOW + 600


def test_what_was_stored_is_held_against_the_scheme_again(store, kiosk):
    store.accept(a_policy(), NOW)
    kiosk.roots = [NEXT_ROOT]
    again = kiosk.store()
    assert again.load(NOW) is None
    assert "no licence by a root" in again.problem


def test_a_stored_licence_that_is_not_valid_yet_is_said(store, kiosk):
    store.accept(a_policy(), NOW)
    again = kiosk.store()
    assert again.load(NOW - 2 * 86_400) is None
    assert "not valid before" in again.problem


# --- any order ------------------------------------------------------------------------------------------

ACTS = st.sampled_from(["newer", "same", "put_back", "delete", "delete_mark", "junk", "restart", "later"])


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=12), st.randoms(use_true_random=False))
def test_whatever_happens_to_the_folder_the_policy_in_force_is_the_newest_or_none(acts, chance):
    with TemporaryDirectory() as folder:
        kiosk = Kiosk(Path(folder) / "policy.jws")
        store, sent, seen_over = kiosk.store(), [], False
        for act in acts:
            match act:
                case "newer" | "same":
                    version = len(sent) + 1 if act == "newer" or not sent else len(sent)
                    jws = a_policy(version=version, per_payment=version)
                    store.accept(jws, NOW)
                    sent, seen_over = [*sent[: version - 1], jws], False
                case "put_back" if sent:
                    kiosk.path.write_bytes(chance.choice(sent))
                case "delete":
                    kiosk.path.unlink(missing_ok=True)
                case "delete_mark":
                    kiosk.mark.unlink(missing_ok=True)
                case "junk":
                    kiosk.path.write_bytes(chance.randbytes(40))
                case "restart":
                    store = kiosk.store()
                case "later" if (policy := store.load(NOW)) is not None:
                    seen_over = store.is_over(policy, NOW + 3_600)
            policy = store.load(NOW)
            assert policy is None or policy.version == len(sent)
            assert policy is None or store.is_over(policy, NOW) == seen_over


@given(st.binary(max_size=300))
def test_bytes_that_nobody_signed_are_no_policy(content):
    with TemporaryDirectory() as folder:
        kiosk = Kiosk(Path(folder) / "policy.jws")
        kiosk.path.write_bytes(content)
        kiosk.mark.write_bytes(content)
        assert kiosk.store().load(NOW) is None
