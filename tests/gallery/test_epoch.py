"""An epoch's turn keeps every cosine, hides who is who from another epoch, and is the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from kiosk.gallery.epoch import Epoch

SECRET = bytes(range(32))


def people(count: int, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 192)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_cosines_between_turned_templates_are_those_before() -> None:
    vectors, epoch = people(200), Epoch.new("cn-1")
    turned = epoch.turn(vectors)
    np.testing.assert_allclose(turned @ turned.T, vectors @ vectors.T, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1.0, atol=1e-5)


def test_one_template_is_turned_like_many() -> None:
    vectors, epoch = people(3), Epoch.new("cn-1")
    np.testing.assert_allclose(epoch.turn(vectors[1]), epoch.turn(vectors)[1], atol=1e-6)


def test_turning_back_gives_what_there_was() -> None:
    vectors, epoch = people(50), Epoch.new("cn-1")
    np.testing.assert_allclose(epoch.turn_back(epoch.turn(vectors)), vectors, atol=1e-6)


def test_the_same_person_in_two_epochs_scores_like_a_stranger() -> None:
    vectors = people(2_000)
    one, other = Epoch.new("cn-1", 1).turn(vectors), Epoch.new("cn-1", 2).turn(vectors)
    same = np.sum(one * other, axis=1)
    assert abs(float(same.mean())) < 0.02
    assert float(np.abs(same).max()) < 0.4
    assert float(same.std()) == pytest.approx(192**-0.5, rel=0.15)


def test_the_turn_of_a_secret_never_changes() -> None:
    """References outlive releases: these numbers are the promise."""
    epoch = Epoch("cn-1", 1, SECRET)
    first = np.zeros(192, np.float32)
    first[0] = 1.0
    assert epoch.id == "9e19ff14a37bd850"
    np.testing.assert_allclose(epoch.turn(first)[:4], [0.023919, 0.089053, 0.069796, 0.030672], atol=1e-5)


@pytest.mark.parametrize(
    "other", [Epoch("cn-2", 1, SECRET), Epoch("cn-1", 2, SECRET), Epoch("cn-1", 1, bytes(32))]
)
def test_region_number_and_secret_each_make_another_epoch(other: Epoch) -> None:
    epoch, vectors = Epoch("cn-1", 1, SECRET), people(1)
    assert epoch.id != other.id
    assert epoch.key("segment") != other.key("segment")
    assert not np.allclose(epoch.turn(vectors), other.turn(vectors), atol=0.01)


def test_keys_differ_by_purpose_and_nothing_shows_the_secret() -> None:
    epoch = Epoch("cn-1", 1, SECRET)
    assert epoch.key("segment") != epoch.key("turn")
    assert "secret" not in repr(epoch)
    assert repr(SECRET) not in repr(epoch)


@pytest.mark.parametrize(
    ("region", "number", "secret"),
    [("", 1, SECRET), ("a\nb", 1, SECRET), ("x" * 65, 1, SECRET), ("cn", 0, SECRET), ("cn", 1, SECRET[1:])],
)
def test_what_is_no_epoch_is_refused(region: str, number: int, secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"region|number|secret"):
        Epoch(region, number, secret)
