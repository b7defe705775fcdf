"""`kiosk pay` above the amount that needs the wallet's PIN: against a real sandbox, with real files."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiosk.acquirer.jwe import PIN_TYP
from kiosk.sandbox.authorise import DEFAULT_PIN
from kiosk.sandbox.ledger import Ledger

from ..sandbox.conftest import Running
from .conftest import DEMO, PAYER, Kiosk, Ran

PROBE = DEMO / "probe" / f"{PAYER}.jpg"


@pytest.fixture(autouse=True)
def _pins_forgotten(shop: Running) -> Iterator[None]:
    """Every test begins without wrong PINs, and leaves none to the others."""
    yield
    ledger = Ledger(shop.folder / "sandbox" / "ledger.sqlite")
    ledger.count_pin(PAYER, right=True)
    ledger.close()


def pay(kiosk: Kiosk, shop: Running, *more: str | Path) -> Ran:
    return kiosk("pay", "--camera", PROBE, "--amount", "600", "--data-dir", shop.folder, *more)


def pin_file(folder: Path, digits: str) -> Path:
    (folder / "pin").write_text(f"{digits}\n")
    return folder / "pin"


def one_line(ran: Ran) -> str:
    assert ran.err.count("\n") == 1, ran.err
    assert ran.err.startswith("kiosk: ")
    return ran.err


def test_without_a_pin_the_payment_is_not_begun_and_the_line_says_how(kiosk: Kiosk, shop: Running) -> None:
    ran = pay(kiosk, shop, "--order", "N-1")
    assert ran.code == 15
    assert "--pin-file" in one_line(ran)
    assert shop.rows("N-1") == []


def test_the_right_pin_pays_and_lies_nowhere_afterwards(
    kiosk: Kiosk, shop: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran = pay(kiosk, shop, "--order", "N-2", "--pin-file", pin_file(tmp_path, DEFAULT_PIN))
    assert ran.code == 0, ran.err
    assert [row.debited_minor for row in shop.rows("N-2")] == [60_000]
    files = [path for path in shop.folder.glob("journal*") if path.is_file()]
    assert files
    kept = b"".join(path.read_bytes() for path in files)
    for held in (kept, (ran.out + ran.err + caplog.text).encode()):
        assert not re.search(rb"(?<![0-9])" + DEFAULT_PIN.encode() + rb"(?![0-9])", held)
        assert PIN_TYP.encode() not in held
        assert b'"pin":"ey' not in held, "the ciphertext goes with the final answer"


def test_a_pin_from_standard_input_pays_too(
    kiosk: Kiosk, shop: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(DEFAULT_PIN.encode())))
    assert pay(kiosk, shop, "--order", "N-3", "--pin-file", "-").code == 0


def test_a_wrong_pin_is_declined_in_the_acquirer_s_word_and_the_order_may_be_paid_again(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    wrong = pin_file(tmp_path, "135790")
    ran = pay(kiosk, shop, "--order", "N-4", "--pin-file", wrong)
    assert ran.code == 10
    line = one_line(ran)
    assert (
        "wrong PIN (wrong_pin); nothing was charged. Try the right one with --order N-4; after 4 more" in line
    )
    told = json.loads(pay(kiosk, shop, "--order", "N-4", "--pin-file", wrong, "--json").out)
    assert (told["outcome"], told["code"], told["pin_tries_left"]) == ("declined", "wrong_pin", 3)
    assert pay(kiosk, shop, "--order", "N-4", "--pin-file", pin_file(tmp_path, DEFAULT_PIN)).code == 0
    assert [row.debited_minor for row in shop.rows("N-4")] == [0, 0, 60_000]


def test_the_third_wrong_pin_blocks_at_the_acquirer_and_after_the_right_one_too(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    wrong = pin_file(tmp_path, "135790")
    lines = [one_line(pay(kiosk, shop, "--pin-file", wrong)) for _ in range(3)]
    assert ["pin_blocked" in line for line in lines] == [False, False, True]
    blocked = pay(kiosk, shop, "--pin-file", pin_file(tmp_path, DEFAULT_PIN))
    assert blocked.code == 10
    line = one_line(blocked)
    assert "PIN blocked after wrong ones (pin_blocked); nothing was charged. No PIN is tried any more" in line


@pytest.mark.parametrize("digits", ["123", "1234567890123", "12a4", "", "１２３４"])
def test_what_is_no_pin_is_refused_without_repeating_it(
    kiosk: Kiosk, shop: Running, tmp_path: Path, digits: str
) -> None:
    ran = pay(kiosk, shop, "--pin-file", pin_file(tmp_path, digits))
    assert ran.code == 2
    assert "4 to 12 digits" in one_line(ran)
    assert not digits or digits not in ran.err


def test_a_pin_file_that_is_not_there_is_said(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    ran = pay(kiosk, shop, "--pin-file", tmp_path / "none")
    assert ran.code == 2
    assert "none" in one_line(ran)
