"""Receipts as data, and as plain text of 42 columns (80 mm paper) or 32 (58 mm), in the shopper's language.

A receipt names no person: the payer is the acquirer's masked text. Every receipt that is not from production
says so on its first and last line, and a copy says that it is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from kiosk.domain.columns import Columns, clean, isolated
from kiosk.domain.moments import written
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Order, Result
from kiosk.domain.receipt_texts import LANGUAGES, Texts

__all__ = [
    "BOOKED",
    "COLUMNS",
    "MAX_QR_BYTES",
    "NARROW_COLUMNS",
    "OFFLINE_CODE",
    "Booked",
    "CloseSlip",
    "CloseTotal",
    "Outcome",
    "Receipt",
    "became",
    "for_qr",
    "outcome_of",
    "reason",
    "render",
    "render_close",
]

COLUMNS: Final = 42
NARROW_COLUMNS: Final = 32
OFFLINE_CODE: Final = "offline"
"""The code of an answer that this kiosk gave itself, inside the acquirer's signed caps."""
MAX_QR_BYTES: Final = 997
"""What a QR code of version 25 carries at error correction M (ISO/IEC 18004, table 7): 117 modules a side,
which is 0.5 mm a module across 80 mm paper, and more on a screen. Denser codes fail at cheap cameras."""


class Outcome(StrEnum):
    """What a receipt says happened; each has its title and its explanation in every language."""

    APPROVED = "approved"
    OFFLINE = "offline"
    """Accepted without the acquirer; it is charged when the sale was forwarded."""
    DECLINED = "declined"
    REVERSED = "reversed"
    NOT_FINAL = "not_final"
    REFUNDED = "refunded"
    VOIDED = "voided"
    OFFLINE_DECLINED = "offline_declined"
    """For staff: a sale that was accepted offline, and that the acquirer declined when it was forwarded."""
    # What an approved payment became later; see `became`.
    REFUNDED_IN_FULL = "refunded_in_full"
    REFUNDED_IN_PART = "refunded_in_part"
    OFFLINE_CHARGED = "offline_charged"
    """Accepted without the acquirer, forwarded since and charged."""
    OFFLINE_NOT_CHARGED = "offline_not_charged"
    """The same, declined by the acquirer when it was forwarded: the shopper's side of `OFFLINE_DECLINED`."""


GIVEN_BACK: Final = (Outcome.REFUNDED, Outcome.VOIDED)
Booked = Literal["payment", "offline", "reversal", "refund"]
BOOKED: Final[Mapping[Outcome, Booked]] = {
    Outcome.APPROVED: "payment",
    Outcome.OFFLINE: "offline",
    Outcome.REVERSED: "reversal",
    Outcome.REFUNDED: "refund",
    Outcome.VOIDED: "refund",
}
"""What a receipt counts as in the close of its batch (the protocol's words); others do not count."""
_OUTCOMES: Final = {
    Result.APPROVED: Outcome.APPROVED,
    Result.DECLINED: Outcome.DECLINED,
    Result.REVERSED: Outcome.REVERSED,
    Result.PENDING: Outcome.NOT_FINAL,
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What happened to one attempt, or to one refund of it. `when` is in the store's time zone.

    Of a refund: `amount` goes back, `paid` was paid, `left` of it can still be refunded, `number` counts the
    refunds of the payment from 1. Of a payment: `refunded` of its `amount` went back since. `code` is the
    acquirer's reason, for what was declined.
    """

    outcome: Outcome
    payee: str
    terminal_id: str
    mode: str
    order_ref: str
    ref: str
    amount: Money
    when: datetime
    code: str = ""
    approval: str = ""
    rrn: str = ""
    masked_payer: str = ""
    provider: str = ""
    licence: str = ""
    paid: Money | None = None
    left: Money | None = None
    number: int = 1
    copy: bool = False
    refunded: Money | None = None

    def __post_init__(self) -> None:
        if self.when.utcoffset() is None:
            raise ValueError("a receipt's time has a zone")

    @classmethod
    def of(
        cls,
        order: Order,
        ref: str,
        answer: Answer,
        *,
        terminal_id: str,
        mode: str,
        when: datetime,
        masked_payer: str = "",
        provider: str = "",
        licence: str = "",
    ) -> Receipt:
        """The receipt of a payment's answer."""
        return cls(
            outcome=outcome_of(answer),
            payee=order.payee,
            terminal_id=terminal_id,
            mode=mode,
            order_ref=order.order_ref,
            ref=ref,
            amount=order.amount,
            when=when,
            code=answer.code if answer.result is Result.DECLINED else "",
            approval=answer.approval,
            rrn=answer.rrn,
            masked_payer=answer.masked_payer or masked_payer,
            provider=provider,
            licence=licence,
        )


def outcome_of(answer: Answer) -> Outcome:
    """What the receipt of a payment with this answer says happened."""
    offline = answer.result is Result.APPROVED and answer.code == OFFLINE_CODE
    return Outcome.OFFLINE if offline else _OUTCOMES[answer.result]


def became(answer: Answer, paid: Money, *, refunded: Money, advice: Result | None) -> Outcome:
    """What the receipt of a payment with this answer says now.

    `refunded` of `paid` went back since; `advice` is the acquirer's word on a sale that was accepted offline,
    None while it has none.
    """
    first = outcome_of(answer)
    if answer.result is Result.APPROVED and refunded.minor:
        return Outcome.REFUNDED_IN_PART if refunded < paid else Outcome.REFUNDED_IN_FULL
    if first is Outcome.OFFLINE and advice is not None:
        return Outcome.OFFLINE_CHARGED if advice is Result.APPROVED else Outcome.OFFLINE_NOT_CHARGED
    return first


def reason(code: str, *, language: str = "en") -> str:
    """The acquirer's reason in words, with its code for whoever calls the provider."""
    words = LANGUAGES[language].reasons
    return f"{words[code]} ({code})" if code in words else code or words["declined"]


@dataclass(frozen=True, slots=True)
class CloseTotal:
    """How many bookings of one kind, and their sum: by this kiosk's journal, by the acquirer (None: it was
    not asked or did not say), and by the receipts that were made.

    `kind` as the protocol names them: payment, offline, reversal, refund.
    """

    kind: str
    kiosk: tuple[int, Money]
    acquirer: tuple[int, Money] | None
    receipts: tuple[int, Money]

    @property
    def agrees(self) -> bool:
        return self.kiosk == self.acquirer == self.receipts


@dataclass(frozen=True, slots=True)
class CloseSlip:
    """The close of a batch as it is printed. `differences`: bookings that the two sides hold differently."""

    payee: str
    terminal_id: str
    mode: str
    batch: int
    when: datetime
    settled: bool
    totals: tuple[CloseTotal, ...]
    differences: int = 0
    copy: bool = False

    @property
    def balanced(self) -> bool:
        return not self.differences and all(total.agrees for total in self.totals)


def render(receipt: Receipt, *, language: str = "en", columns: int = COLUMNS) -> str:
    """Lines of at most `columns` (control characters in names are dropped, wide ones count double).

    Raises:
        KeyError: no such language.
        ValueError: fewer than 16 columns.
    """
    texts = LANGUAGES[language]
    page = Columns(columns, texts.mirrored)
    banner, title, about = _heads(receipt, texts)
    (label, amount), *rows = _rows(receipt, texts)
    return _page(
        page.centred(banner),
        page.centred(receipt.payee),
        page.rule(),
        page.centred(title),
        page.centred(texts.copy) if receipt.copy else [],
        page.pair(label, amount),
        page.rule(),
        *(page.pair(label, value) for label, value in rows),
        page.rule(),
        page.centred(about),
        page.centred(banner),
    )


def for_qr(receipt: Receipt, *, language: str = "en") -> str:
    """The same for a QR code, at most `MAX_QR_BYTES` bytes of UTF-8: the receipt itself, so that a phone
    shows it without a network, and nobody learns who looked.

    Where long names make it longer, the rows that only say who provides the payment go first, then all but
    the essential: outcome, copy, amount, what went back of it, time, terminal and attempt.
    """
    texts = LANGUAGES[language]
    banner, title, _ = _heads(receipt, texts)
    heads = [banner, clean(receipt.payee), title, texts.copy if receipt.copy else ""]
    rows = _rows(receipt, texts)
    provider = {texts.provider, texts.licence}
    essential = {texts.given_back, texts.time, texts.terminal, texts.attempt}
    longer = (rows, [row for row in rows if row[0] not in provider])
    shortest = [rows[0], *(row for row in rows if row[0] in essential)]
    whole = (_scanned(heads, below, texts) for below in longer)
    return next(
        (text for text in whole if len(text.encode()) <= MAX_QR_BYTES),
        _scanned([banner, title, heads[-1]], shortest, texts),
    )


def _scanned(heads: list[str], rows: list[tuple[str, str]], texts: Texts) -> str:
    keep = isolated if texts.mirrored else str
    return _page(
        [line for line in heads if line], [f"{label}: {keep(clean(value))}" for label, value in rows]
    )


def render_close(slip: CloseSlip, *, language: str = "en", columns: int = COLUMNS) -> str:
    """The close of a batch: three totals for each kind, and a mark where they differ; errors as `render`."""
    texts = LANGUAGES[language]
    page = Columns(columns, texts.mirrored)
    kinds = {
        "payment": texts.payments,
        "offline": texts.offlines,
        "reversal": texts.reversals,
        "refund": texts.refunds,
    }
    body: list[str] = []
    for total in slip.totals:
        body += page.pair(kinds[total.kind], "" if total.agrees else "!")
        sides = (
            (texts.kiosk, total.kiosk),
            (texts.acquirer, total.acquirer),
            (texts.receipts, total.receipts),
        )
        for side, value in sides:
            count, money = ("-", "-") if value is None else (str(value[0]), str(value[1]))
            body += page.three(f" {side}", count, money)
    banner = _banner(slip.mode, texts)
    return _page(
        page.centred(banner),
        page.centred(slip.payee),
        page.rule(),
        page.centred(texts.close if slip.settled else texts.comparison),
        page.centred(texts.balanced if slip.balanced else texts.not_balanced),
        page.centred(texts.copy) if slip.copy else [],
        page.rule(),
        body,
        page.rule(),
        page.pair(texts.differences, str(slip.differences)),
        page.pair(texts.batch, str(slip.batch)),
        page.pair(texts.time, written(slip.when)),
        page.pair(texts.terminal, slip.terminal_id),
        page.centred(banner),
    )


def _heads(receipt: Receipt, texts: Texts) -> tuple[str, str, str]:
    """The banner of its mode, its title, and what stands under it all."""
    outcome = receipt.outcome
    about = "" if outcome is Outcome.APPROVED else getattr(texts, f"about_{outcome}")
    return _banner(receipt.mode, texts), getattr(texts, outcome), about


def _banner(mode: str, texts: Texts) -> str:
    return "" if mode == "production" else str(getattr(texts, mode))


def _rows(receipt: Receipt, texts: Texts) -> list[tuple[str, str]]:
    """Labels and values that are not empty, the amount first."""
    given_back = receipt.outcome in GIVEN_BACK
    rows = [
        (texts.refund if given_back else texts.total, str(receipt.amount)),
        (texts.paid, str(receipt.paid or "")),
        (texts.given_back, str(receipt.refunded or "")),
        (texts.left, "" if receipt.left is None else str(receipt.left)),
        (texts.number, str(receipt.number) if given_back else ""),
        (texts.order, receipt.order_ref),
        (texts.time, written(receipt.when)),
        (texts.terminal, receipt.terminal_id),
        (texts.refunded_to if given_back else texts.payer, receipt.masked_payer),
        (texts.code, texts.reasons.get(receipt.code, receipt.code)),
        (texts.approval, receipt.approval),
        (texts.reference, receipt.rrn),
        (texts.attempt, receipt.ref),
        (texts.provider, receipt.provider),
        (texts.licence, receipt.licence),
    ]
    return [(label, value) for label, value in rows if value]


def _page(*blocks: list[str]) -> str:
    return "".join(line + "\n" for block in blocks for line in block)
