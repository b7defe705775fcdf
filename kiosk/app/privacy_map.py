"""What data about people a kiosk holds: where, how protected, how long, on what ground, and who else gets it.

One table for `kiosk privacy report` and docs/privacy.md, which a test holds against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DATA_MAP", "Holding", "as_markdown"]


@dataclass(frozen=True, slots=True)
class Holding:
    """One kind of data: `biometric` by which a person can be recognised (GDPR art. 9, PIPL art. 28)."""

    what: str
    where: str
    protection: str
    kept: str
    ground: str
    receives: str
    biometric: bool = False


DATA_MAP: Final = (
    Holding(
        "Frames of the camera",
        "memory, while somebody pays or enrols; never a disk",
        "camera off until a press; converted pictures overwritten, the camera's buffers given back",
        "15 s at most",
        "consent (the press)",
        "nobody",
        biometric=True,
    ),
    Holding(
        "Probe: the template of a look",
        "memory, from the look to the decision",
        "overwritten when the payer is identified or refused",
        "seconds",
        "consent (the press)",
        "nobody; when the acquirer is asked who this is, it, sealed to its key",
        biometric=True,
    ),
    Holding(
        "References: templates of enrolled people",
        "gallery/ in the data folder; memory while the kiosk runs",
        "turned by the epoch's secret, sealed (ChaCha20-Poly1305) in a place of their own, key of the kiosk; "
        "overwritten in memory when forgotten",
        "until withdrawal or the end of the consent",
        "explicit consent: GDPR art. 9(2)(a), PIPL art. 29",
        "the acquirer (sealed to its key at enrolment), and by it the kiosks of the region",
        biometric=True,
    ),
    Holding(
        "Beside a reference: token, masked name and account, four digits, own limits, which consent",
        "in the same sealed file",
        "the same; never a whole name, number or picture",
        "as the reference",
        "contract of payment; the consent itself: proof of it (GDPR art. 7(1))",
        "came from the acquirer",
    ),
    Holding(
        "Payments: amount, time, token, score bands, consent reference",
        "journal.sqlite, archives",
        "hash chain, owner-only files; no face, template, name or whole score",
        "what bookkeeping and scheme rules ask for (settled days are archived: kiosk journal compact)",
        "contract; duty to keep books",
        "the acquirer, signed",
    ),
    Holding(
        "Withdrawals that the acquirer has not confirmed",
        "withdrawals.json",
        "owner-only file; tokens alone",
        "until it confirms",
        "duty to honour a withdrawal",
        "the acquirer",
    ),
    Holding(
        "Tombstones: tokens of who left",
        "signed list of the repository; newest in the gallery's manifest",
        "opaque tokens, signed",
        "90 days",
        "duty to delete everywhere",
        "every kiosk of the region",
    ),
    Holding(
        "Audit trail: who did what and when",
        "audit.jsonl, audit.mark",
        "hash chain with a keyed end; a payer is a keyed mark of 48 bits, staff a number",
        "as long as the kiosk, or until it is exported and begun anew",
        "accountability: GDPR art. 5(2), PIPL art. 54",
        "whoever audits (kiosk audit export)",
    ),
    Holding(
        "Staff: number, role, PIN",
        "staff.json",
        "argon2id under a secret of the kiosk's key; no names",
        "until removed",
        "employment; security of payments",
        "nobody",
    ),
    Holding(
        "Wallet PIN of a payer",
        "memory, while it is typed and sent",
        "encrypted for the acquirer alone (JWE); its ciphertext leaves the journal with the attempt",
        "seconds",
        "contract",
        "the acquirer",
    ),
    Holding(
        "System log (journald) and messages",
        "the machine's log",
        "no token, template, frame, PIN or secret is logged; a crash prints code lines, no values",
        "the machine's setting",
        "security of the service",
        "whoever maintains the machine",
    ),
)

HEADINGS: Final = ("what", "where", "how protected", "how long", "ground", "who else gets it")


def as_markdown() -> str:
    """The table as it stands in docs/privacy.md; biometric data in bold."""
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    for one in DATA_MAP:
        what = f"**{one.what}**" if one.biometric else one.what
        rows.append((what, one.where, one.protection, one.kept, one.ground, one.receives))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
