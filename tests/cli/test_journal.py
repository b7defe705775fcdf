"""`kiosk journal` as staff, support and a third party use it."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kiosk.acquirer.journal import Journal

from ..acquirer.journals import APPROVED, TODAY, UNGUARDED, a_refund, opened_attempt, paid, raw
from ..acquirer.parts import an_effect
from ..acquirer.test_journal_chain import follow_as_a_third_party
from ..sandbox.conftest import Running
from .conftest import DEMO, PAYER, Kiosk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with two payments, one of them open, a refund and a receipt."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        effect, _ = opened_attempt(journal, an_effect(order_ref="A-1", token="tok-1234567890"))
        journal.conclude(effect.ref, APPROVED)
        journal.open_task(a_refund(journal, effect, 850), effect.order, day=TODAY, minor=850)
        journal.note_receipt(effect.ref, "payment", 1, 3850, "CNY", TODAY.toordinal(), copy=True)
        opened_attempt(journal, an_effect(order_ref="A-2"))
        paid(journal, order_ref="A-3")
    return tmp_path


def test_verify_says_whole_and_where_it_ends(kiosk: Kiosk, folder: Path) -> None:
    ran = kiosk("journal", "verify", "--data-dir", folder)
    assert ran.code == 0
    assert ran.out.startswith("the chain is whole: 6 entries, the last is number 6\nits hash: ")
    told = json.loads(kiosk("journal", "verify", "--archive", "--json", "--data-dir", folder).out)
    assert (told["whole"], told["entries"], told["gaps"], told["archives"]) == (True, 6, [], 0)


def test_verify_names_the_entry_that_was_changed(kiosk: Kiosk, folder: Path) -> None:
    raw(folder / "journal.sqlite", *UNGUARDED, "UPDATE entries SET minor = 1 WHERE seq = 3")
    ran = kiosk("journal", "verify", "--data-dir", folder)
    assert ran.code == 2
    assert "entry 3 was changed or is missing" in ran.err
    assert ran.err.count("\n") == 1
    ran = kiosk("journal", "verify", "--json", "--data-dir", folder)
    assert (ran.code, json.loads(ran.out)["whole"]) == (2, False)


def test_verify_works_beside_a_running_kiosk(kiosk: Kiosk, folder: Path) -> None:
    with Journal(folder / "journal.sqlite"):
        assert kiosk("journal", "verify", "--data-dir", folder).code == 0
        assert kiosk("journal", "show", "--data-dir", folder).code == 0


def test_show_reads_like_a_shops_book(kiosk: Kiosk, folder: Path) -> None:
    ran = kiosk("journal", "show", "--data-dir", folder)
    first, second, third, *under = ran.out.splitlines()
    assert "A-3" in first
    assert "approved ABC123" in first
    assert "open: don't pay again" in second
    assert "¥ 38.50" in third
    assert [line.strip() for line in under] == [
        "refund 1  ¥ 8.50  on its way",
        "receipt of the payment (copy)",
    ]
    assert "tok-1234567890" not in ran.out


@pytest.mark.parametrize(
    ("filters", "orders"),
    [
        (("--open",), ["A-2", "A-1"]),
        (("--order", "A-3"), ["A-3"]),
        (("--day", "2026-11-25", "--limit", "2"), ["A-3", "A-2"]),
        (("--day", "2026-11-24"), []),
        (("--ref", "nobody"), []),
    ],
)
def test_show_filters(kiosk: Kiosk, folder: Path, filters: tuple[str, ...], orders: list[str]) -> None:
    told = json.loads(kiosk("journal", "show", *filters, "--json", "--data-dir", folder).out)
    assert [one["order_ref"] for one in told["payments"]] == orders
    ran = kiosk("journal", "show", *filters, "--data-dir", folder)
    if not orders:
        assert ran.out == "nothing of that kind is in the journal\n"
    elif "--limit" in filters:
        assert "1 more; --limit shows them" in ran.err


def test_what_is_wrong_is_said_in_a_line(kiosk: Kiosk, folder: Path, tmp_path: Path) -> None:
    for arguments in (
        ("show", "--day", "yesterday", "--data-dir", folder),
        ("show", "--data-dir", tmp_path / "none"),
        ("export", "--out", tmp_path / "no" / "file", "--data-dir", folder),
    ):
        ran = kiosk("journal", *arguments)
        assert ran.code == 2
        assert ran.err.count("\n") == 1


def test_an_export_verifies_by_itself_and_names_nobody(kiosk: Kiosk, folder: Path, tmp_path: Path) -> None:
    ran = kiosk("journal", "export", "--data-dir", folder)
    with Journal(folder / "journal.sqlite") as journal:
        assert follow_as_a_third_party(ran.out.splitlines()) == journal.last_hash
    assert "tok-1234567890" not in ran.out
    out = tmp_path / "journal.csv"
    assert kiosk("journal", "export", "--format", "csv", "--out", out, "--data-dir", folder).code == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows][:3] == ["payment", "concluded", "refund"]
    assert rows[0]["token"] == "tok-…90"


def test_compact_says_what_it_moved(kiosk: Kiosk, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite", now=lambda: 1_600_000_000.0) as journal:
        day = TODAY.replace(year=2020)
        paid(journal, day=day)
        journal.settle(day.toordinal(), b"{}")
    ran = kiosk("journal", "compact", "--keep-days", "30", "--data-dir", tmp_path)
    assert ran.out.startswith("entries 1 to 3 are in archive/journal-000000001-000000003.sqlite (SHA-256 ")
    ran = kiosk("journal", "compact", "--json", "--data-dir", tmp_path)
    assert json.loads(ran.out) == {"moved": 0, "file": "", "sha256": ""}
    assert "nothing to move" in kiosk("journal", "compact", "--data-dir", tmp_path).out
    assert "1 archive files" in kiosk("journal", "verify", "--archive", "--data-dir", tmp_path).out


def pay(kiosk: Kiosk, shop: Running, order: str) -> None:
    probe = DEMO / "probe" / f"{PAYER}.jpg"
    arguments = ("--order", order, "--data-dir", shop.folder)
    assert kiosk("pay", "--camera", probe, "--amount", "38.50", *arguments).code == 0


def test_after_damage_the_acquirer_fills_the_gap(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    path = shop.folder / "journal.sqlite"
    pay(kiosk, shop, "J-1")
    shutil.copy(path, tmp_path / "older")
    pay(kiosk, shop, "J-2")
    shutil.copy(tmp_path / "older", path)
    ran = kiosk("journal", "verify", "--data-dir", shop.folder)
    assert "no payment is begun (older_copy): run `kiosk journal recover`" in ran.out
    told = json.loads(kiosk("journal", "recover", "--days", "1", "--json", "--data-dir", shop.folder).out)
    assert (told["complete"], told["was_halted"], len(told["adopted"])) == (True, "older_copy", 1)
    assert kiosk("journal", "recover", "--days", "1", "--data-dir", shop.folder).code == 0
    # A page in the middle becomes noise; what was on it comes from the acquirer.
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    assert kiosk("journal", "verify", "--data-dir", shop.folder).code == 2
    ran = kiosk("journal", "recover", "--days", "1", "--data-dir", shop.folder)
    assert ran.code == 0
    assert "the damaged file is " in ran.out
    assert (
        "were lost; a recovery wrote that down" in kiosk("journal", "verify", "--data-dir", shop.folder).out
    )
    orders = [
        one["order_ref"]
        for one in json.loads(kiosk("journal", "show", "--json", "--data-dir", shop.folder).out)["payments"]
    ]
    assert sorted(orders) == ["J-1", "J-2"]
    pay(kiosk, shop, "J-3")


def test_where_the_acquirer_does_not_answer_it_is_to_be_run_again(kiosk: Kiosk, shop: Running) -> None:
    shop.misbehave("drop-answer:9")
    ran = kiosk("journal", "recover", "--days", "0", "--data-dir", shop.folder)
    shop.misbehave()
    assert ran.code == 14
    assert "days were not answered: run it again" in ran.out
    assert kiosk("journal", "recover", "--days", "1", "--data-dir", shop.folder).code == 0
