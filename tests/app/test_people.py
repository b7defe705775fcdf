"""Who is enrolled, while other processes enrol and forget."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from kiosk.app.people import EnrolledPeople
from kiosk.app.wiring import Base, open_base
from kiosk.domain.errors import OperatorError
from kiosk.gallery.template import PayerRecord, Reference, Template


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=192)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def record(base: Base, token: str, seed: int, digits: str = "") -> PayerRecord:
    reference = Reference(Template(unit(seed)), base.embedding_id())
    return PayerRecord(token, f"*{token}", "•••• 1234", digits, "consent-v1", 1_800_000_000, (reference,))


def enrolled(folder: Path, *tokens: str) -> None:
    with open_base(folder, None) as base:
        for seed, token in enumerate(tokens):
            base.enrol(record(base, token, seed))


def forgotten(folder: Path, token: str) -> None:
    with open_base(folder, None) as base:
        assert base.forget(token)


def test_whom_another_process_forgets_is_not_found_any_more_and_their_template_is_overwritten(
    tmp_path: Path,
) -> None:
    enrolled(tmp_path, "ming", "li")
    with open_base(tmp_path, None) as base:
        people = EnrolledPeople(base.gallery, base.changed_gallery)
        held = [one.references[0].template for one in base.gallery.records()]
        assert people.search(unit(0), None)[0].token == "ming"
        forgotten(tmp_path, "ming")
        assert [found.token for found in people.search(unit(0), None)] == ["li"]
        assert people.payer("ming") is None
        assert people.searched(None) == 1
        assert [template.wiped for template in held] == [True, False]
        enrolled(tmp_path, "wang")
        assert {found.token for found in people.search(unit(0), None)} == {"wang", "li"}


def test_a_gallery_that_became_unreadable_recognises_nobody(tmp_path: Path) -> None:
    enrolled(tmp_path, "ming")
    with open_base(tmp_path, None) as base:
        people = EnrolledPeople(base.gallery, base.changed_gallery)
        for file in (tmp_path / "gallery").iterdir():
            file.write_bytes(b"nothing of ours")
        for _ in range(2):
            with pytest.raises(OperatorError):
                people.search(unit(0), None)


@pytest.mark.timeout(30)
def test_two_changes_at_a_time_are_both_made(tmp_path: Path) -> None:
    enrolled(tmp_path, "ming")
    changes = [
        threading.Thread(target=forgotten, args=(tmp_path, "ming")),
        *(threading.Thread(target=enrolled, args=(tmp_path, f"p{number}")) for number in range(6)),
    ]
    for change in changes:
        change.start()
    for change in changes:
        change.join()
    with open_base(tmp_path, None) as base:
        assert {one.token for one in base.gallery.records()} == {f"p{number}" for number in range(6)}


def test_how_many_are_searched_is_everybody_or_those_with_the_digits(tmp_path: Path) -> None:
    with open_base(tmp_path, None) as base:
        for seed, digits in enumerate(("1111", "1111", "2222")):
            base.enrol(record(base, f"p{seed}", seed, digits))
        people = EnrolledPeople(base.gallery)
        assert [people.searched(digits) for digits in (None, "1111", "2222", "3333")] == [3, 2, 1, 0]
