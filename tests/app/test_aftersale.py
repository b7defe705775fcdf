"""Which payment a refund is about: what its receipts name it by means one payment, or nothing is done."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from kiosk.acquirer.journal import Journal
from kiosk.app.aftersale import AfterSale
from kiosk.app.kernel import Kernel
from kiosk.app.outbox import Outbox
from kiosk.app.workers import SystemClock
from kiosk.domain.errors import OperatorError

from ..acquirer.journals import paid


def test_a_reference_that_two_payments_have_names_neither(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        first, second = paid(journal), paid(journal)  # their acquirer numbers from 1 again
        sale = AfterSale(cast("Kernel", None), journal, cast("Outbox", None), SystemClock())
        with pytest.raises(
            OperatorError, match=r"2 payments have the reference 000000000001. Give its order"
        ):
            sale.payment("000000000001")
        for effect in (first, second):
            assert sale.payment(effect.order.order_ref).ref == sale.payment(effect.ref).ref == effect.ref
        with pytest.raises(OperatorError, match="has no payment '000000000009'"):
            sale.payment("000000000009")
