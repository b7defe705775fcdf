"""The pictures of docs/receipts.md: one made-up sale, drawn by the kiosk's own code.

.venv/bin/python tools/build_receipts.py [--check]
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from kiosk.domain.money import Money
from kiosk.domain.receipt import CloseSlip, CloseTotal, Outcome, Receipt, for_qr, render, render_close
from kiosk.ui.slip import as_png, picture
from kiosk.ui.window import application

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "img"
WHEN = datetime(2026, 11, 25, 16, 0, 3, tzinfo=ZoneInfo("Asia/Shanghai"))
PAID = Money(3850, "CNY")
SALE = Receipt(
    outcome=Outcome.APPROVED,
    payee="Corner Shop",
    terminal_id="T-DEMO-0001",
    mode="demo",
    order_ref="K-4711",
    ref="019ac2f0-0000-7000-8000-000000000001",
    amount=PAID,
    when=WHEN,
    approval="7Q4KXM",
    rrn="000000000042",
    masked_payer="*明",
    provider="Sandbox Acquirer",
    licence="SANDBOX-0000",
)
RECEIPTS = {
    "approved": (SALE, "en", 42),
    "offline": (replace(SALE, outcome=Outcome.OFFLINE, rrn=""), "zh-Hans", 32),
    "refund": (
        replace(SALE, outcome=Outcome.REFUNDED, amount=Money(1200, "CNY"), paid=PAID,
                left=Money(2650, "CNY"), copy=True), "en", 32,
    ),
    "offline-declined": (
        replace(SALE, outcome=Outcome.OFFLINE_DECLINED, code="payer_blocked", rrn=""), "en", 42,
    ),
}  # fmt: skip


def _same(kind: str, count: int, minor: int) -> CloseTotal:
    total = (count, Money(minor, "CNY"))
    return CloseTotal(kind, total, total, total)


CLOSE = CloseSlip(
    payee="Corner Shop",
    terminal_id="T-DEMO-0001",
    mode="demo",
    batch=739_945,
    when=WHEN,
    settled=False,
    totals=(
        replace(_same("payment", 12, 103_850), acquirer=(13, Money(107_700, "CNY"))),
        _same("offline", 2, 4_000),
        _same("refund", 1, 1_200),
    ),
    differences=1,
)


def main() -> int:
    """Draw all; with `--check` only say which file is another one than would be drawn."""
    app = application()
    drawn = {
        f"receipt-{name}": picture(
            render(receipt, language=language, columns=columns),
            columns=columns,
            code="" if name == "offline-declined" else for_qr(receipt, language=language),
        )
        for name, (receipt, language, columns) in RECEIPTS.items()
    }
    drawn["receipt-close"] = picture(render_close(CLOSE), columns=42)
    wrong = []
    for name, image in drawn.items():
        file, content = FOLDER / f"{name}.png", as_png(image)
        if "--check" not in sys.argv:
            file.write_bytes(content)
        elif not file.exists() or file.read_bytes() != content:
            wrong.append(file.name)
    del app
    if wrong:
        print(f"not what is drawn now: {', '.join(wrong)}; run tools/build_receipts.py and look")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
