"""`kiosk receipt`: the journal's receipts again, marked as copies, as text, code and picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from kiosk.acquirer.journal import Journal
from kiosk.domain.columns import width

from ..sandbox.conftest import Running
from .conftest import DEMO, PAYER, Kiosk, Ran

PROBE = DEMO / "probe" / f"{PAYER}.jpg"


@pytest.fixture(scope="module")
def sold(shop: Running, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """One payment of order R-1."""
    import sys

    from kiosk.cli import main as cli

    with pytest.MonkeyPatch.context() as patch:
        pay = ["pay", "--camera", str(PROBE), "--amount", "38.50", "--order", "R-1"]
        patch.setattr(sys, "argv", ["kiosk", *pay, "--data-dir", str(shop.folder)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code
    return shop


def again(kiosk: Kiosk, sold: Running, *arguments: str | Path) -> Ran:
    return kiosk("receipt", *arguments, "--data-dir", sold.folder)


def test_it_is_a_copy_of_what_was_printed(kiosk: Kiosk, sold: Running) -> None:
    ran = again(kiosk, sold, "R-1")
    assert ran.code == 0, ran.err
    for part in ("* COPY *", "PAYMENT APPROVED", "¥ 38.50", "R-1", "DEMO: NOTHING REAL IS CHARGED"):
        assert part in ran.out


def test_an_order_an_attempt_and_the_last_one_are_the_same_receipt(kiosk: Kiosk, sold: Running) -> None:
    ref = json.loads(again(kiosk, sold, "R-1", "--json").out)["ref"]
    assert again(kiosk, sold, "R-1").out == again(kiosk, sold, ref).out == again(kiosk, sold).out


def test_it_carries_neither_token_nor_name(kiosk: Kiosk, sold: Running) -> None:
    told = again(kiosk, sold, "R-1", "--json").out
    assert PAYER not in told


def test_a_copy_counts_in_no_total(kiosk: Kiosk, sold: Running) -> None:
    def printed() -> list[object]:
        with Journal(sold.folder / "journal.sqlite", read_only=True) as journal:
            batch = journal.payments(1)[0].batch
            return list(journal.receipts_in(batch))

    before = printed()
    assert len(before) == 1
    again(kiosk, sold, "R-1")
    assert printed() == before


def test_narrow_paper_and_another_language(kiosk: Kiosk, sold: Running) -> None:
    ran = again(kiosk, sold, "R-1", "--language", "zh-Hans", "--columns", "32")
    assert "支付成功" in ran.out
    assert all(width(line) <= 32 for line in ran.out.splitlines())


def test_the_code_holds_the_receipt(kiosk: Kiosk, sold: Running, tmp_path: Path) -> None:
    told = json.loads(again(kiosk, sold, "R-1", "--json", "--qr", tmp_path / "r.png").out)
    picture = cv2.imread(str(tmp_path / "r.png"), cv2.IMREAD_GRAYSCALE)
    assert cv2.QRCodeDetectorAruco().detectAndDecode(picture)[0] == told["qr"]
    assert "* COPY *" in told["qr"]
    assert again(kiosk, sold, "R-1", "--qr", tmp_path / "r.svg").code == 0
    assert (tmp_path / "r.svg").read_text().startswith("<svg")


def test_the_picture_holds_the_code_too(kiosk: Kiosk, sold: Running, tmp_path: Path) -> None:
    told = json.loads(again(kiosk, sold, "R-1", "--json", "--png", tmp_path / "paper.png").out)
    picture = cv2.imread(str(tmp_path / "paper.png"), cv2.IMREAD_GRAYSCALE)
    assert picture.shape[1] == 42 * 12 + 72
    assert cv2.QRCodeDetectorAruco().detectAndDecode(picture)[0] == told["qr"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["R-9"], "no payment 'R-9'"),
        (["R-1", "--refund", "1"], "no refund 1"),
        (["R-1", "--language", "xx"], "Use one of en, zh-Hans, ar"),
        (["R-1", "--columns", "8"], "greater than or equal to 16"),
        (["R-1", "--qr", "code.gif"], "neither .png nor .svg"),
        (["R-1", "--qr", "/nowhere/code.png"], "cannot be written"),
        (["R-1", "--language", "ar", "--png", "x.png"], "no font that ships"),
    ],
)
def test_wrong_use_is_one_line(kiosk: Kiosk, sold: Running, arguments: list[str], told: str) -> None:
    ran = again(kiosk, sold, *arguments)
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_where_nothing_was_sold_it_says_so(kiosk: Kiosk, tmp_path: Path) -> None:
    ran = kiosk("receipt", "--data-dir", tmp_path)
    assert ran.code == 2
    assert "nothing was sold here yet" in ran.err


def test_a_refund_is_printed_again(kiosk: Kiosk, sold: Running, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("739164\n")
    pin.chmod(0o600)
    made = kiosk("staff", "add", "7", "--role", "manager", "--pin-file", pin, "--data-dir", sold.folder)
    assert made.code == 0, made.err
    given = kiosk(
        "refund", "R-1", "--amount", "12.00", "--staff", "7", "--pin-file", pin, "--data-dir", sold.folder
    )
    assert given.code == 0, given.err
    ran = again(kiosk, sold, "R-1", "--refund", "1")
    assert ran.code == 0, ran.err
    for part in ("REFUND", "¥ 12.00", "Was paid", "Left of it", "¥ 26.50", "* COPY *"):
        assert part in ran.out

    told = json.loads(again(kiosk, sold, "R-1", "--json").out)
    assert (told["outcome"], told["refunded"], told["left"]) == ("refunded_in_part", "12.00", "26.50")
    assert "PAID AND REFUNDED IN PART" in told["text"]
    by_its_own = json.loads(again(kiosk, sold, "R-1", "--refund", "1", "--json").out)["rrn"]
    for reference in (told["rrn"], by_its_own):
        assert json.loads(again(kiosk, sold, reference, "--json").out)["ref"] == told["ref"]
    paid_again = ("pay", "--camera", PROBE, "--amount", "38.50", "--order", "R-1", "--data-dir", sold.folder)
    line = kiosk(*paid_again)
    assert line.code == 0, line.err
    assert line.out.startswith("REFUNDED IN PART ¥ 12.00 of ¥ 38.50 order R-1 approval ")
    assert "nothing more was charged" in line.out

    manager = ("--staff", "7", "--pin-file", pin, "--data-dir", sold.folder)
    assert kiosk("refund", told["rrn"], *manager).code == 0, "by the reference, all that is left"
    told = json.loads(again(kiosk, sold, "R-1", "--json").out)
    assert (told["outcome"], told["refunded"], told["left"]) == ("refunded_in_full", "38.50", "0.00")
    said = json.loads(kiosk(*paid_again, "--json").out)
    assert (said["outcome"], said["standing"], said["refunded"]) == ("approved", "refunded_in_full", "38.50")
    assert kiosk(*paid_again).out.startswith("REFUNDED IN FULL ¥ 38.50 order R-1 ")
    assert kiosk("dispute", told["rrn"], *manager, "--wait", "10").code == 0
