"""What the sandbox signs and how it counts, without HTTP, by a clock of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from kiosk.acquirer.licence import Scheme, load_roots
from kiosk.acquirer.policy import PolicyStore
from kiosk.domain.errors import ProtocolError
from kiosk.sandbox.policy import Terms, day_begins, publish_scheme

from ..acquirer.parts import an_effect
from .test_authorise import Desk


@pytest.fixture
def desk(tmp_path, clock):
    desk = Desk(tmp_path, clock)
    yield desk
    desk.ledger.close()


def a_store(desk, *, sandbox=True):
    publish_scheme(desk.folder)
    scheme = Scheme(load_roots(desk.folder / "scheme.json"), sandbox=sandbox)
    return PolicyStore(desk.folder / "policy.jws", {desk.key.key_id: desk.key.public_der}, scheme, bytes(32))


def test_a_kiosk_believes_the_policy_under_the_licence_of_the_sandbox_s_own_scheme(desk, clock):
    desk.terms(
        law_note="Two factors (Act 7).",
        two_factors_above=0,
        licence="LIC-9",
        offline={"per_payment": 5, "count": 6, "total": 7, "age_s": 60},
        ceiling={"per_payment": 1, "per_person_hour": 2, "per_kiosk_day_count": 3},
    )
    policy = a_store(desk).accept(desk.authoriser.policy(), clock.utc_s())
    assert (policy.law_note, policy.two_factors_above, policy.licence) == ("Two factors (Act 7).", 0, "LIC-9")
    assert (policy.offline.per_payment, policy.ceiling.per_person_hour) == (5, 2)
    assert policy.pin_key is not None


def test_production_does_not_believe_it_even_with_the_root_pinned(desk, clock):
    with pytest.raises(ProtocolError, match="not for production"):
        a_store(desk, sandbox=False).accept(desk.authoriser.policy(), clock.utc_s())


def test_a_licence_can_be_let_run_out(desk, clock):
    store = a_store(desk)
    desk.terms(licence_lifetime_s=7_200)
    policy = store.accept(desk.authoriser.policy(), clock.utc_s())
    assert policy.expires_s <= clock.utc_s() + 7_200
    desk.terms(licence_lifetime_s=0)
    with pytest.raises(ProtocolError, match="expired"):
        store.accept(desk.authoriser.policy(), clock.utc_s())


def test_the_policy_of_one_version_says_the_same_at_each_call(desk, clock):
    store = a_store(desk)
    store.accept(desk.authoriser.policy(), clock.utc_s())
    kept = store._path.read_bytes()
    clock.advance(60_000)
    store.accept(desk.authoriser.policy(), clock.utc_s())
    clock.advance(3_600_000)
    store.accept(desk.authoriser.policy(), clock.utc_s())  # the licence was renewed meanwhile
    assert store._path.read_bytes() != kept


@pytest.mark.parametrize(
    ("zone", "now", "began"),
    [
        ("UTC", "2026-11-25T15:59:59+00:00", "2026-11-25T00:00:00+00:00"),
        ("Asia/Shanghai", "2026-11-25T15:59:59+00:00", "2026-11-24T16:00:00+00:00"),
        ("Asia/Shanghai", "2026-11-25T16:00:00+00:00", "2026-11-25T16:00:00+00:00"),
        ("Europe/Zurich", "2026-10-25T22:59:59+00:00", "2026-10-24T22:00:00+00:00"),  # 25 hours
    ],
)
def test_a_day_begins_at_the_store_s_midnight(zone, now, began):
    at = day_begins(Terms(timezone=zone), datetime.fromisoformat(now).timestamp())
    assert at == datetime.fromisoformat(began).timestamp()


def test_a_day_of_caps_ends_at_the_store_s_midnight(desk, clock):
    zone = ZoneInfo("America/New_York")
    desk.terms(timezone=zone.key, ceiling={"per_payment": 10, "per_person_day_count": 1})
    assert desk.pay(an_effect(minor=1, token="a")).code == "approved"
    assert desk.pay(an_effect(minor=1, token="a")).code == "velocity_day"
    local = datetime.fromtimestamp(clock.utc_s(), UTC).astimezone(zone)
    rest_s = 86_400 - (local.hour * 3_600 + local.minute * 60 + local.second)
    clock.advance((rest_s - 1) * 1000)
    assert desk.pay(an_effect(minor=1, token="a")).code == "velocity_day"
    clock.advance(1_000)
    assert desk.pay(an_effect(minor=1, token="a")).code == "approved"


def test_hours_and_numbers_have_caps(desk, clock):
    desk.terms(ceiling={"per_payment": 10, "per_person_hour": 12, "per_kiosk_day_count": 3})
    assert desk.pay(an_effect(minor=10, token="a")).code == "approved"
    assert desk.pay(an_effect(minor=3, token="a")).code == "over_person_hour_cap"
    assert desk.pay(an_effect(minor=2, token="a")).code == "approved"
    clock.advance(3_600_001)
    assert desk.pay(an_effect(minor=10, token="a")).code == "approved"
    assert desk.pay(an_effect(minor=1, token="b")).code == "over_kiosk_day_count"
