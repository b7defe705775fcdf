"""A `gallery.fpk` of an older release is taken over once, and gone then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.gallery.template import Template

from .keys import files_in, store_in
from .legacy import HEADER, write_legacy
from .people import people, record

LIMITS = Limits(per_payment=200_00, per_person_day=0)


def crowd(count: int = 6) -> list:
    return [
        record(token, vectors, digits=f"{n:04}") for n, (token, vectors) in enumerate(people(count).items())
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gallery.fpk"


def copy_of(file: Path) -> Path:
    return file.with_name("gallery.fpk.copy")


def test_everybody_is_taken_over_with_all_that_was_known_and_the_version_goes_on(file, tmp_path):
    before = [replace(one, limits=LIMITS) for one in crowd()]
    write_legacy(file, before, version=41)
    loaded = store_in(tmp_path).load()
    assert loaded.warning is None
    assert loaded.gallery.version == 41
    for old, new in zip(before, loaded.gallery.records(), strict=True):
        assert (new.token, new.digits, new.consent_ref, new.limits) == (
            old.token,
            old.digits,
            old.consent_ref,
            LIMITS,
        )
        assert np.allclose(loaded.gallery.epoch.turn_back(new.vectors()), old.vectors(), atol=1e-6)


def test_the_old_files_are_gone_and_the_new_ones_hold_nobody_unturned(file, tmp_path):
    old = crowd()
    write_legacy(file, old, version=41)
    gallery = store_in(tmp_path).load().gallery
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery", "gallery.lock", "gallery.mark"]
    for before, after in zip(old, gallery.records(), strict=True):
        assert abs(float(np.sum(before.vectors()[0] * after.vectors()[0]))) < 0.5
    store = store_in(tmp_path)
    assert store.status().since_s == 0
    assert store.load().gallery.version == 41


def test_whoever_was_enrolled_before_is_found_by_a_turned_probe(file, tmp_path):
    old = crowd()
    write_legacy(file, old, version=1)
    gallery = store_in(tmp_path).load().gallery
    probe = Template.of(gallery.epoch.turn(old[4].vectors()[0]))
    assert gallery.search(probe, 1)[0].token == "p000004"


def test_the_first_releases_knew_no_limits(file, tmp_path):
    write_legacy(file, crowd(2), version=3, limits=False)
    assert {one.limits for one in store_in(tmp_path).load().gallery.records()} == {Limits()}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_or_cut_file_is_replaced_by_its_copy(file, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("old")
    file = folder / "gallery.fpk"
    write_legacy(file, crowd(2), version=1)
    raw = bytearray(file.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(raw)
    loaded = store_in(folder).load()
    assert loaded.gallery.size == 2
    assert "copy" in loaded.warning
    assert "\n" not in loaded.warning


def test_two_damaged_files_are_never_taken_for_an_empty_gallery(file, tmp_path):
    write_legacy(file, crowd(), version=1)
    file.write_bytes(b"")
    copy_of(file).write_bytes(b"FPGAL\r\n\x1a" + b"\xff" * 60)
    for _ in range(2):
        with pytest.raises(OperatorError, match="no gallery can be opened"):
            store_in(tmp_path).load()


def test_another_key_is_refused_in_one_line_and_nothing_is_lost(file, tmp_path):
    write_legacy(file, crowd(), version=1)
    with pytest.raises(OperatorError, match="another key") as caught:
        store_in(tmp_path, b"x" * 32).load()
    assert "\n" not in str(caught.value)
    assert store_in(tmp_path).load().gallery.size == 6


def test_a_newer_format_is_refused_by_name(file, tmp_path):
    write_legacy(file, crowd(1), version=1)
    for path in (file, copy_of(file)):
        raw = bytearray(path.read_bytes())
        raw[8] = 2
        path.write_bytes(raw)
    with pytest.raises(OperatorError, match="its format is 2"):
        store_in(tmp_path).load()


def test_a_body_that_does_not_fit_its_header_is_refused(file, tmp_path):
    write_legacy(file, crowd(2), version=1)
    assert HEADER.size + 20 < file.stat().st_size
    whole = crowd(2)
    for count in (1, 3):
        write_legacy(file, whole, version=1)
        reseal(file, people=count)
        with pytest.raises(OperatorError, match="other people"):
            store_in(tmp_path).load()


def test_templates_that_do_not_fit_their_people_are_refused(file, tmp_path):
    write_legacy(file, crowd(2), version=1)
    reseal(file, cut=768)
    with pytest.raises(OperatorError, match="do not fit"):
        store_in(tmp_path).load()


def reseal(file: Path, *, people: int = 2, cut: int = 0) -> None:
    """Both files with another header or a shorter body, under the right key."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    raw = file.read_bytes()
    magic, layout, version, _, references, nonce = HEADER.unpack(raw[: HEADER.size])
    seal = ChaCha20Poly1305(b"k" * 32)
    body = seal.decrypt(nonce, raw[HEADER.size :], raw[: HEADER.size])
    header = HEADER.pack(magic, layout, version, people, references, nonce)
    for path in (file, copy_of(file)):
        path.write_bytes(header + seal.encrypt(nonce, body[: len(body) - cut], header))


def test_a_take_over_that_was_cut_off_before_the_old_files_went_is_ended(file, tmp_path):
    write_legacy(file, crowd(), version=41)
    kept = file.read_bytes()
    store = store_in(tmp_path)
    gallery = store.load().gallery
    store.forget(gallery, "p000001")
    file.write_bytes(kept)
    store_in(tmp_path).tidy()
    assert not file.exists()
    assert store_in(tmp_path).load().gallery.size == 5


def test_an_old_file_put_back_beside_the_mark_brings_nobody_back(file, tmp_path):
    write_legacy(file, crowd(), version=41)
    kept = file.read_bytes()
    store_in(tmp_path).load()
    for name in files_in(tmp_path):
        (tmp_path / "gallery" / name).unlink()
    file.write_bytes(kept)
    with pytest.raises(OperatorError, match="taken away"):
        store_in(tmp_path).load()
