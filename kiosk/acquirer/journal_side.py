"""Tables beside the chain: what a lock-out counts, and what was printed or shown; one statement a write."""

from __future__ import annotations

from kiosk.acquirer.journal_entries import Booking, Receipted
from kiosk.acquirer.journal_file import JournalFile
from kiosk.acquirer.operations import Kind

__all__ = ["SideTables"]


class SideTables(JournalFile):
    """The journal's file with the tables that are not chained: what they say moves no money."""

    def note_failure(self, key: str, at: float) -> None:
        """A look or PIN failed (`at`: seconds since 1970, UTC); the newest 32 of a key are kept."""
        with self._explained():
            self._db.execute("INSERT INTO failures VALUES (?, ?)", (key, at))

    def failures(self, key: str) -> list[float]:
        """When it failed, in the order in which it was noted."""
        with self._explained():
            return [
                row["at"] for row in self._rows("SELECT at FROM failures WHERE key = ? ORDER BY rowid", key)
            ]

    def clear_failures(self, key: str) -> None:
        """It went well."""
        with self._explained():
            self._db.execute("DELETE FROM failures WHERE key = ?", (key,))

    def note_receipt(  # noqa: PLR0917 - a receipt's own words
        self, ref: str, kind: Kind, number: int, minor: int, currency: str, batch: int, *, copy: bool
    ) -> None:
        """A receipt was printed or shown: the third leg of a close's comparison.

        The same one again (a restart tells the last end once more) is noted once; a copy each time.
        """
        with self._explained():
            self._db.execute(
                """INSERT INTO receipts SELECT :ref, :kind, :number, :minor, :currency, :batch, :copy
                   WHERE :copy OR NOT EXISTS (SELECT 1 FROM receipts
                       WHERE batch = :batch AND ref = :ref AND kind = :kind AND number = :number
                       AND NOT copy)""",
                {
                    "ref": ref,
                    "kind": kind,
                    "number": number,
                    "minor": minor,
                    "currency": currency,
                    "batch": batch,
                    "copy": copy,
                },
            )

    def receipts_in(self, batch: int) -> list[Booking]:
        """What was printed or shown of a batch, in the words of bookings; copies don't count."""
        with self._explained():
            rows = self._rows(
                """SELECT ref, kind, number, minor, currency FROM receipts
                   WHERE batch = ? AND NOT copy ORDER BY rowid""",
                batch,
            )
        return [Booking.of(row) for row in rows]

    def receipts_of(self, ref: str) -> list[Receipted]:
        """What was printed or shown about `ref`, oldest first."""
        with self._explained():
            rows = self._rows(
                "SELECT kind, number, minor, copy FROM receipts WHERE ref = ? ORDER BY rowid", ref
            )
        return [Receipted(row["kind"], row["number"], row["minor"], bool(row["copy"])) for row in rows]
