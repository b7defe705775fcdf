"""`kiosk receipt`: print a receipt again, out of the journal, marked as a copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.receipt import COLUMNS, Receipt, for_qr, render
from kiosk.domain.receipt_texts import LANGUAGES

if TYPE_CHECKING:
    from kiosk.acquirer.journal import Journal, PaymentEntry

__all__ = ["receipt"]

LAST = "last"


def receipt(
    which: Annotated[
        str,
        typer.Argument(
            metavar="ORDER|REFERENCE|last",
            help="An order, or an attempt or a reference as a receipt names it, or the last one.",
        ),
    ] = LAST,
    refund: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, max=99, help="That refund of it instead.")
    ] = None,
    language: Annotated[
        str, typer.Option(metavar="TAG", help=f"{', '.join(LANGUAGES)}. Default: the screen's.")
    ] = "",
    columns: Annotated[
        int, typer.Option(min=16, max=80, help="Of the paper: 42 (80 mm) or 32 (58 mm).")
    ] = COLUMNS,
    qr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write it as a QR code (.png or .svg).")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the paper as a picture, with its QR code.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Print a receipt again. It says COPY, and no total counts it.

    Of an order: the payment that was approved, else its last attempt. Works beside a running kiosk.

    Example: kiosk receipt A-17 --language zh-Hans --columns 32
    """
    from kiosk.acquirer.journal import Journal
    from kiosk.app.receipts import of_payment, of_refund
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        tag = _language(language or base.config.screen.language)
        path = base.data_dir / "journal.sqlite"
        if not path.exists():
            raise OperatorError("nothing was sold here yet", where=str(path), do="Check --data-dir.")
        with Journal(path, read_only=True) as journal:
            payment = _find(journal, which)
            tasks = journal.tasks_of(payment.ref)
        setting = base.setting(base.stored_policy())
    slip = (
        of_payment(setting, payment, tasks) if refund is None else of_refund(setting, payment, tasks, refund)
    )
    if slip is None:
        raise OperatorError(
            f"no refund {refund} of order {payment.order.order_ref} was given", do="See `kiosk journal show`."
        )
    text, code = render(slip, language=tag, columns=columns), for_qr(slip, language=tag)
    if qr is not None:
        _write(qr, _drawn(qr, code))
    if png is not None:
        _write(png, _picture(text, columns, code))
    if json:
        print_json(_as_json(slip) | {"language": tag, "columns": columns, "text": text, "qr": code})
    else:
        say(text.rstrip("\n"))


def _language(tag: str) -> str:
    if tag not in LANGUAGES:
        raise OperatorError(f"--language {tag!r}", do=f"Use one of {', '.join(LANGUAGES)}.")
    return tag


def _find(journal: Journal, which: str) -> PaymentEntry:
    found = journal.payments(1) if which == LAST else journal.named(which)
    found.sort(key=lambda entry: entry.answer is None or entry.answer.result != "approved")
    if not found:
        raise OperatorError(f"no payment {which!r} in this journal", do="`kiosk journal show` lists them.")
    return found[0]


def _drawn(file: Path, code: str) -> bytes:
    from kiosk import qr

    drawings: dict[str, Callable[[str], bytes]] = {".png": qr.png, ".svg": lambda text: qr.svg(text).encode()}
    if file.suffix not in drawings:
        raise OperatorError("neither .png nor .svg", where=str(file), do="Name the file so.")
    return drawings[file.suffix](code)


def _picture(text: str, columns: int, code: str) -> bytes:
    import os

    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from kiosk.ui.slip import as_png, picture
    from kiosk.ui.window import application

    app = application()
    try:
        return as_png(picture(text, columns=columns, code=code))
    finally:
        del app


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise OperatorError(f"cannot be written ({error.strerror})", where=str(file)) from None


def _as_json(slip: Receipt) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.decimal() if isinstance(value, Money) else value

    told = {name: plain(getattr(slip, name)) for name in asdict(slip)}
    return told | {"currency": slip.amount.currency, "when": slip.when.isoformat()}
