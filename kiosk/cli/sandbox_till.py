"""`kiosk sandbox till`: a shop's till, simulated, that opens one payment at a kiosk and waits for its end."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kiosk.cli.common import DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money, MoneyError
from kiosk.domain.till import OpenPayment, Outcome, Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from kiosk.sandbox.till import TillLine

__all__ = ["till"]

NOT_PAID: Final = 10
NOT_FINAL: Final = 14


def till(
    amount: Annotated[str, typer.Option(metavar="38.50", help="Amount with a point, more than zero.")],
    order: Annotated[
        str, typer.Option(metavar="REF", help="The order; asked for again, it is the same payment.")
    ] = "",
    currency: Annotated[str, typer.Option(metavar="CODE", help="ISO 4217.")] = "CNY",
    tcp: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the kiosk listens.")
    ] = "127.0.0.1:4880",
    serial: Annotated[
        str, typer.Option(metavar="DEVICE", help="A serial port instead, such as /dev/ttyUSB1.")
    ] = "",
    baud: Annotated[int, typer.Option(metavar="9600", help="Bits a second of the serial port.")] = 9600,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The shared key. Default: till.key in the data folder."),
    ] = None,
    name: Annotated[str, typer.Option(metavar="SALE_ID", help="The till's own name.")] = "TILL-1",
    abort_after: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Give the order up after this time.")
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for the end.")
    ] = 180.0,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Open one payment at a kiosk as a till does, wait for its end, and print the receipt.

    A lost line is opened again and the same order asked for again: it is one payment. The bytes are those of
    docs/till.md.

    Exit code: 0 approved, 10 not paid (nothing charged by this request), 14 no end yet (don't pay again),
    2 wrong use.

    Example: kiosk sandbox till --amount 38.50 --order A-1 --tcp 127.0.0.1:4880
    """
    from kiosk.sandbox.till import Sale, sell

    order = order or f"T-{secrets.token_hex(6)}"
    try:
        money = Money.parse(amount, currency)
        OpenPayment("check", order, money)
    except (MoneyError, ValueError) as error:
        raise OperatorError(str(error), where="--amount, --order") from None
    connect = _serial(serial, baud) if serial else _tcp(tcp, key, data_dir, name)
    told = sell(connect, Sale(order, money, abort_after, wait), complain)
    code = _code(told)
    if json:
        print_json({**_plain(told, order), "exit_code": code})
    elif told is None:
        complain(f"order {order}: no end within {wait:.0f} s; don't pay again, ask the same again")
    elif code:
        complain(f"order {order}: {told.outcome}{f' ({told.code})' if told.code else ''}")
    else:
        since = f" ({told.standing.replace('_', ' ')} since)" if told.standing else ""
        say(f"APPROVED {told.amount} order {order} approval {told.approval} ref {told.ref}{since}")
        say("\n".join(told.receipt))
    if code:
        raise typer.Exit(code)


def _tcp(where: str, key: Path | None, data_dir: Path | None, name: str) -> Callable[[], TillLine]:
    from kiosk.app.config import default_data_dir
    from kiosk.sandbox.till import TcpLine
    from kiosk.till.key import KEY_NAME, read_key

    host, _, port = where.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise OperatorError(f"--tcp {where!r}", do="Give address and port, such as 127.0.0.1:4880.")
    secret = read_key(key or (data_dir or default_data_dir()) / KEY_NAME)
    return lambda: TcpLine(host.strip("[]"), int(port), secret, name)


def _serial(device: str, baud: int) -> Callable[[], TillLine]:
    from kiosk.sandbox.till import SerialLine

    return lambda: SerialLine.open(device, baud)


def _code(told: Told | None) -> int:
    if told is None or told.is_open:
        return NOT_FINAL
    return 0 if told.outcome is Outcome.APPROVED else NOT_PAID


def _plain(told: Told | None, order: str) -> dict[str, object]:
    if told is None:
        return {"outcome": Outcome.NOT_FINAL.value, "order_ref": order}
    return {
        "outcome": told.outcome.value,
        "order_ref": order,
        "amount": told.amount.decimal() if told.amount else None,
        "currency": told.amount.currency if told.amount else None,
        "ref": told.ref,
        "code": told.code,
        "approval": told.approval,
        "rrn": told.rrn,
        "masked_payer": told.masked_payer,
        "standing": told.standing,
        "refunded": told.refunded.decimal() if told.refunded else None,
        "receipt": list(told.receipt),
    }
