"""The epochs' secrets: kept sealed, given to a trusted terminal for one call, and two of them at most."""

from __future__ import annotations

import pytest

from kiosk.acquirer.client import Told
from kiosk.acquirer.gallery_keys import OneTimeKey
from kiosk.acquirer.messages import Problem, new_ref, parse
from kiosk.acquirer.operations import GalleryKeysAnswer, gallery_keys_request
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError
from kiosk.gallery.epoch import Epoch
from kiosk.sandbox.epochs import Epochs
from kiosk.sandbox.gallery_keys import GalleryKeys

from ..acquirer.parts import TERMINAL, Now
from .conftest import Running
from .test_aftersale import Shop

ENVELOPE = {"sequence": 1, "batch": 1, "created_utc": 1_795_564_800.0, "previous": GENESIS}


def asked(recipient: bytes):
    return gallery_keys_request(TERMINAL, new_ref(Now()), recipient=recipient, **ENVELOPE)


@pytest.fixture
def shop(tmp_path, clock):
    made = Shop(tmp_path, clock)
    yield made
    made.ledger.close()


def test_a_running_sandbox_gives_its_epoch_to_a_kiosk_that_it_trusts(sandbox: Running) -> None:
    key = OneTimeKey()
    told = sandbox.client().send(asked(key.public_der))
    assert isinstance(told, Told)
    (secret,) = key.open(told.message)
    epoch = Epoch(secret.region, secret.number, secret.secret)
    assert (epoch.region, epoch.number, epoch.id) == ("sandbox", 1, secret.id)


def test_the_newest_two_epochs_are_given_the_newest_first(shop):
    epochs = Epochs(shop.folder)
    made = [epochs.begin("north"), epochs.renew(), epochs.renew()]
    key = OneTimeKey()
    exchange = asked(key.public_der)
    treated = GalleryKeys(shop.authoriser).give(shop._who(exchange), exchange.body)
    given = key.open(parse(treated.body, GalleryKeysAnswer))
    assert [(one.number, one.id, one.secret) for one in given] == [
        (epoch.number, epoch.id, epoch.secret) for epoch in (made[2], made[1])
    ]


@pytest.mark.parametrize(("body", "code"), [(b"{}", "format"), (asked(b"no key").body, "format")])
def test_what_is_no_question_or_no_key_is_refused(shop, body, code):
    Epochs(shop.folder).begin("north")
    exchange = asked(b"no key")
    treated = GalleryKeys(shop.authoriser).give(shop._who(exchange), body)
    assert (treated.status, parse(treated.body, Problem).error) == (400, code)


def test_where_nothing_is_published_there_are_no_epochs(shop):
    exchange = asked(OneTimeKey().public_der)
    treated = GalleryKeys(shop.authoriser).give(shop._who(exchange), exchange.body)
    assert parse(treated.body, GalleryKeysAnswer).epochs == ()


def test_epochs_are_written_down_sealed_and_open_with_their_key_only(tmp_path):
    epochs = Epochs(tmp_path)
    epoch = epochs.begin("north")
    assert epochs.begin("north").secret == epoch.secret
    written = (tmp_path / "epochs.sealed").read_bytes()
    assert epoch.secret not in written
    (tmp_path / "epochs.key").write_bytes(bytes(32))
    with pytest.raises(OperatorError, match=r"epochs\.key"):
        Epochs(tmp_path).all()


def test_a_sandbox_has_one_region_and_a_region_has_a_name(tmp_path):
    epochs = Epochs(tmp_path)
    with pytest.raises(OperatorError, match="repository init"):
        epochs.renew()
    with pytest.raises(OperatorError, match="region"):
        epochs.begin("../north")
    epochs.begin("north")
    with pytest.raises(OperatorError, match="'north', not 'south'"):
        epochs.begin("south")
