"""The journal held against the acquirer's books: halted where entries are missing, filled, and resumed.

What only the acquirer knows is adopted. Where this journal holds the same thing as declined or undone, its
entry stays and a correction follows: money that moved is never unknown here. What is approved here and not
there is for people: no entry takes an approval back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Final, Literal

import msgspec

from kiosk.acquirer.journal_chain import Draft
from kiosk.acquirer.journal_file import RecoveryNote
from kiosk.acquirer.journal_schema import CORRECTED
from kiosk.acquirer.journal_tasks import Tasks, about
from kiosk.acquirer.operations import Difference
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Order, Result

__all__ = ["SKIPPED_SEQUENCES", "Books", "Taken"]

SKIPPED_SEQUENCES: Final = 1_000_000
"""More than a kiosk uses between a copy of its journal and the day on which somebody puts it back."""

Taken = Literal["", "adopted", "ended", "corrected"]
"""How a difference was written: anew, as the end of what was open, against an end that is there; or not."""


class Books(Tasks):
    """The journal's file as the acquirer's books see it."""

    _count_day = ""
    """The day whose sums `Journal` keeps; empty: they are to be read anew."""

    # --- halted -----------------------------------------------------------------------------------------

    def halt(self, why: str) -> None:
        """Begin no payment any more: the acquirer says that entries are missing here (`sequence_reused`)."""
        with self._explained():
            if not self.halted:
                self._append_end(Draft("halted", f"halt:{self._chain.seq + 1}", result=why))

    def resume(self) -> None:
        """What was missing is here again, as far as anybody knows it: payments may be begun.

        Sequence numbers go on beyond every one that may have been used.
        """
        with self._explained():
            mark, self._behind_mark = self._behind_mark, False
            floor = max(self._sequence, self._chain.sequence) + SKIPPED_SEQUENCES
            ref = f"recovery:{self._chain.seq + 1}"
            try:
                self._append_end(
                    Draft("recovered", ref, body=msgspec.json.encode(RecoveryNote()), sequence=floor)
                )
            except BaseException:
                self._behind_mark = mark
                raise
            self._sequence = floor

    # --- what only the acquirer holds -------------------------------------------------------------------

    def adopt(
        self, difference: Difference, *, currency: str, batch: int, day: date, payee: str = ""
    ) -> Taken:
        """Write a booking of `batch` that only the acquirer holds; how that was done.

        Only a refund that is open here and that the acquirer will never treat may be given: it ends by this.
        An attempt that is open stays so: asking for it ends it. Of a payment that is held with another amount
        nothing is written.
        """
        if not difference.acquirer or difference.kiosk is not None:
            return ""
        order = Order(difference.order_ref or difference.ref, Money(difference.acquirer, currency), payee)
        kind = "refund" if difference.kind == "refund" else "payment"
        begun = Draft(
            kind, difference.ref, order, difference.token, day.isoformat(), difference.number, batch,
            result="adopted",
        )  # fmt: skip
        with self._explained():
            if not self._rows(
                "SELECT 1 FROM entries WHERE ref = ? AND kind = ? AND number = ?",
                difference.ref, kind, difference.number,
            ):  # fmt: skip
                taken, drafts = _anew(begun, difference)
            elif kind == "refund":
                taken, drafts = self._refund_as_held(difference, batch)
            else:
                taken, drafts = self._attempt_as_held(difference)
            if drafts:
                self._count_day = ""
                self._append(*drafts)
            return taken

    def _refund_as_held(self, difference: Difference, batch: int) -> tuple[Taken, tuple[Draft, ...]]:
        """The number belongs to a refund of this journal, which is open, or was declined."""
        (row,) = self._rows(
            "SELECT * FROM tasks WHERE ref = ? AND kind = 'refund' AND number = ?",
            difference.ref, difference.number,
        )  # fmt: skip
        if row["outcome"] == Result.APPROVED:
            return "", ()
        end = replace(about(row, "refund_end"), number=row["number"], batch=batch)
        money = Money(difference.acquirer or 0, row["currency"])
        if row["outcome"] is None and money.minor == row["minor"]:
            return "ended", (_with(end, _word(difference, "adopted")),)
        correction = replace(
            end, kind=CORRECTED[end.kind], order=end.order and replace(end.order, amount=money)
        )
        corrected = _with(correction, _word(difference, "corrected"))
        if row["outcome"] is not None:
            return "corrected", (corrected,)
        return "corrected", (_with(end, Answer(Result.DECLINED, "other_content")), corrected)

    def _attempt_as_held(self, difference: Difference) -> tuple[Taken, tuple[Draft, ...]]:
        """The attempt is here: its end may be another one, unless it is approved or open."""
        (row,) = self._rows("SELECT * FROM attempts WHERE ref = ?", difference.ref)
        if row["minor"] != difference.acquirer or row["outcome"] is None:
            return "", ()
        offline = row["advice_seq"] is not None
        if offline and (difference.kind, row["advice_result"]) == ("offline", Result.DECLINED):
            end = about(row, "advice_end")
        elif not offline and (difference.kind, row["outcome"]) in (
            ("payment", Result.DECLINED), ("payment", Result.REVERSED), ("reversal", Result.DECLINED),
        ):  # fmt: skip
            end = about(row, "concluded")
        else:
            return "", ()
        return "corrected", (_with(replace(end, kind=CORRECTED[end.kind]), _word(difference, "corrected")),)


def _word(difference: Difference, code: str) -> Answer:
    """The acquirer's books as the answer that they stand for."""
    if difference.kind == "reversal":
        return Answer(Result.REVERSED, code)
    return Answer(Result.APPROVED, code, difference.approval, difference.rrn)


def _with(end: Draft, answer: Answer) -> Draft:
    return replace(end, body=msgspec.json.encode(answer), result=str(answer.result))


def _anew(begun: Draft, difference: Difference) -> tuple[Taken, tuple[Draft, ...]]:
    """Beginning and end of what this journal knows nothing of."""
    end = "refund_end" if begun.kind == "refund" else "concluded"
    ended = _with(replace(begun, kind=end), _word(difference, "adopted"))
    if difference.kind != "offline":
        return "adopted", (begun, ended)
    sent = replace(begun, kind="advice")  # forwarded long ago: the acquirer has it
    return "adopted", (begun, ended, sent, replace(ended, kind="advice_end", body=None))
