"""Receipts as data, and as plain text of 42 columns (an 80 mm printer's line).

A receipt names no person: the payer is the acquirer's masked text. Every receipt that is not from production
says so on its first and last line.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Order, Result

__all__ = ["COLUMNS", "Receipt", "render"]

COLUMNS: Final = 42


@dataclass(frozen=True, slots=True)
class Receipt:
    """What happened to one attempt. `when` is local time as text, written by who knows the time zone."""

    payee: str
    terminal_id: str
    mode: str
    order_ref: str
    ref: str
    amount: Money
    result: Result
    when: str
    approval: str = ""
    rrn: str = ""
    masked_payer: str = ""
    provider: str = ""
    licence: str = ""

    @classmethod
    def of(
        cls,
        order: Order,
        ref: str,
        answer: Answer,
        *,
        terminal_id: str,
        mode: str,
        when: str,
        masked_payer: str = "",
        provider: str = "",
        licence: str = "",
    ) -> Receipt:
        """The receipt of a final answer."""
        return cls(
            payee=order.payee,
            terminal_id=terminal_id,
            mode=mode,
            order_ref=order.order_ref,
            ref=ref,
            amount=order.amount,
            result=answer.result,
            when=when,
            approval=answer.approval,
            rrn=answer.rrn,
            masked_payer=answer.masked_payer or masked_payer,
            provider=provider,
            licence=licence,
        )


_TITLES: Final = {
    Result.APPROVED: "PAYMENT APPROVED",
    Result.DECLINED: "DECLINED - NOTHING CHARGED",
    Result.REVERSED: "REVERSED - NOTHING CHARGED",
    Result.PENDING: "NOT FINAL - DO NOT PAY AGAIN",
}


def render(receipt: Receipt) -> str:
    """Lines of at most 42 columns (control characters in names are dropped, wide ones count double)."""
    banner = (
        "" if receipt.mode == "production" else f"*** {receipt.mode.upper()}: NOTHING REAL IS CHARGED ***"
    )
    rows = [
        ("Order", receipt.order_ref),
        ("Time", receipt.when),
        ("Terminal", receipt.terminal_id),
        ("Paid by", receipt.masked_payer),
        ("Approval", receipt.approval),
        ("Reference", receipt.rrn),
        ("Attempt", receipt.ref),
        ("Provider", receipt.provider),
        ("Licence", receipt.licence),
    ]
    lines = [
        _centred(banner),
        *(_centred(line) for line in _wrapped(_clean(receipt.payee))),
        "-" * COLUMNS,
        _centred(_TITLES[receipt.result]),
        _pair("TOTAL", str(receipt.amount)),
        "-" * COLUMNS,
        *(_pair(label, _clean(value)) for label, value in rows if value),
        "-" * COLUMNS,
        _centred(banner),
    ]
    return "\n".join(line for line in lines if line.strip()) + "\n"


def _clean(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _width(text: str) -> int:
    """Columns on a printer's line: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _wrapped(text: str) -> list[str]:
    """Lines of at most 42 columns, broken at spaces where there are any."""
    lines, line = [], ""
    for word in re.findall(r"\S+\s*", text):
        if line and _width(line) + _width(word.rstrip()) > COLUMNS:
            lines.append(line.rstrip())
            line = ""
        for character in word:
            if _width(line) + _width(character) > COLUMNS:
                lines.append(line.rstrip())
                line = ""
            line += character
    return [*lines, line.rstrip()]


def _centred(text: str) -> str:
    return " " * max(0, (COLUMNS - _width(text)) // 2) + text


def _pair(label: str, value: str) -> str:
    space = COLUMNS - _width(label) - _width(value)
    if space >= 1:
        return label + " " * space + value
    return "\n".join([label, *(" " * (COLUMNS - _width(line)) + line for line in _wrapped(value))])
