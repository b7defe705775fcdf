"""Batches: which one a request belongs to, what counts in it, and that it is closed for good.

A booking is a payment by how it ended, or a refund that was given; both sides of a close count the same.
"""

from __future__ import annotations

from datetime import date

from kiosk.acquirer.journal_chain import Draft
from kiosk.acquirer.journal_entries import Booking
from kiosk.acquirer.journal_side import SideTables

__all__ = ["Batches"]


class Batches(SideTables):
    """The journal's file as batches see it."""

    def batch(self, day: date) -> int:
        """The batch that a request of the store's `day` belongs to: never one that is settled, nor one that
        the acquirer was asked to settle and may have settled."""
        with self._explained():
            (closing,) = self._rows(
                """SELECT coalesce(max(batch), 0) FROM entries WHERE kind = 'reconciliation'
                   AND kind IN ('refund', 'advice', 'dispute', 'reconciliation')"""  # for the index
            )[0]
            return max(day.toordinal(), self._chain.settled + 1, int(closing))

    def open_batches(self) -> list[int]:
        """Batches with attempts or refunds that are not closed for good, oldest first."""
        with self._explained():
            rows = self._rows(
                """SELECT DISTINCT batch FROM entries WHERE batch > ? AND kind IN
                   ('payment', 'refund', 'refund_end', 'refund_corrected') ORDER BY batch""",
                self._chain.settled,
            )
        return [row["batch"] for row in rows]

    def settled_batch(self) -> int:
        """The last batch that is closed for good; 0 when none is."""
        with self._mutex:
            return self._chain.settled

    def settle(self, batch: int, answer: bytes) -> None:
        """Write that the acquirer closed `batch` for good (`answer`: its body); again changes nothing."""
        with self._explained():
            if batch > self._chain.settled:
                self._append_end(
                    Draft("settled", f"batch:{batch}", batch=batch, body=answer, result="settled")
                )

    def bookings(self, batch: int) -> list[Booking]:
        """What counts in `batch`, oldest first: each payment by how it ended, each refund that was given.

        An attempt belongs to the batch that it was asked for in, however late its end comes; a refund that
        was taken from the acquirer's books, to the one that it has there. An offline sale that the acquirer
        declined is none.
        """
        with self._explained():
            rows = self._db.execute(
                """SELECT seq, ref, number, minor, currency,
                          CASE WHEN outcome = 'reversed' THEN 'reversal'
                               WHEN advice_seq IS NOT NULL THEN 'offline' ELSE 'payment' END AS kind
                   FROM attempts WHERE batch = :batch AND outcome IN ('approved', 'reversed')
                                 AND coalesce(advice_result, '') <> 'declined'
                   UNION ALL
                   SELECT seq, ref, number, booked_minor, currency, 'refund' FROM tasks
                   WHERE booked_batch = :batch AND kind = 'refund' AND outcome = 'approved'
                   ORDER BY seq""",
                {"batch": batch},
            ).fetchall()
        return [Booking.of(row) for row in rows]
