"""A till at a real kiosk: real sandbox, journal, network, vision on a still; the presses are the test's."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kiosk.app.till import open_till, till_desk
from kiosk.app.wiring import Kiosk, open_base, open_kiosk
from kiosk.domain.money import Money
from kiosk.domain.payment import Confirm, Identified, Offered, PayWithFace, Sent, State
from kiosk.domain.till import Abort, Answered, AskStatus, OpenPayment, Outcome, Said, Told
from kiosk.sandbox.till import Sale, SerialLine, TcpLine, TillLine, sell
from kiosk.till.key import new_key, read_key

from ..cli.conftest import DEMO, PAYER, shop  # noqa: F401 - a fixture
from ..sandbox.conftest import Running

PROBE = DEMO / "probe" / f"{PAYER}.jpg"
AMOUNT = Money(3850, "CNY")


class Counter:
    """A kiosk that runs, with a shopper who presses what a test lets them press."""

    def __init__(self, kiosk: Kiosk, connect: Callable[[], TillLine]) -> None:
        self.kiosk, self.connect = kiosk, connect
        self.shopper_is_here, self.confirms = threading.Event(), threading.Event()
        self.shopper_is_here.set()
        self.confirms.set()
        self.reached: dict[type[State], threading.Event] = {
            kind: threading.Event() for kind in (Offered, Identified, Sent)
        }
        kiosk.kernel.on_state = self._press

    def _press(self, state: State) -> None:
        if type(state) in self.reached:
            self.reached[type(state)].set()
        match state:
            case Offered() if self.shopper_is_here.is_set():
                self.kiosk.kernel.post(PayWithFace())
            case Identified() if self.confirms.is_set():
                self.kiosk.kernel.post(Confirm())

    def until(self, state: type[State]) -> None:
        assert self.reached[state].wait(30)


@contextmanager
def counter(folder: Path, wire: str, tmp_path: Path) -> Iterator[Counter]:
    """`kiosk run` without its screen, and a till's way to it."""
    config, key, cable = tmp_path / "till.toml", tmp_path / "till.key", tmp_path / "tty"
    ends = pty.openpty()
    tty.setraw(ends[1])
    cable.unlink(missing_ok=True)
    cable.symlink_to(os.ttyname(ends[1]))
    if not key.exists():
        key.write_bytes(new_key())
        key.chmod(0o600)
    port = free_port()
    config.write_text(
        f'mode = "test"\n[till]\nlink = "{wire}"\nport = {port}\nkey_file = "{key}"\ndevice = "{cable}"\n'
    )

    def connect() -> TillLine:
        if wire == "tcp":
            return TcpLine("127.0.0.1", port, read_key(key))
        os.write(ends[0], b"\x05")
        while not select.select([ends[0]], [], [], 0.2)[0]:
            os.write(ends[0], b"\x05")
        return SerialLine(os.dup(ends[0]))

    with (
        open_base(folder, config) as base,
        open_kiosk(base, camera=str(PROBE), till=(desk := till_desk(base))) as kiosk,
        open_till(base, desk),
    ):
        desk.join(kiosk.kernel)
        one = Counter(kiosk, connect)
        thread = threading.Thread(target=kiosk.kernel.run, name="kernel")
        thread.start()
        try:
            yield one
        finally:
            kiosk.kernel.stop()
            thread.join()
            for end in ends:
                os.close(end)


def free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def heard(line: TillLine) -> Said:
    said = line.hear(30)
    assert said is not None
    return said


def told(said: Said) -> Told:
    assert isinstance(said, Answered)
    return said.told


def debits(at: Running, order: str) -> list[int]:
    return [row.debited_minor for row in at.rows(order) if row.debited_minor]


@pytest.mark.parametrize("wire", ["tcp", "serial"])
def test_an_order_s_life_from_both_wires(shop: Running, tmp_path: Path, wire: str) -> None:  # noqa: F811
    order = f"TILL-{wire}"
    with counter(shop.folder, wire, tmp_path) as kiosk:
        # A shopper pays.
        end = sell(kiosk.connect, Sale(order, AMOUNT, wait_s=60))
        assert end is not None
        assert (end.outcome, end.amount) == (Outcome.APPROVED, AMOUNT)
        assert any(end.approval in line for line in end.receipt)

        # The till asks for the same again, with another connection.
        again = sell(kiosk.connect, Sale(order, AMOUNT, wait_s=60))
        assert again == end

        # Nobody is there yet: an abort is confirmed.
        kiosk.shopper_is_here.clear()
        line = kiosk.connect()
        line.send(OpenPayment("p-2", f"{order}-2", AMOUNT))
        line.send(Abort("a-2", f"{order}-2"))
        outcomes = {said.id: said.told.outcome for said in (heard(line), heard(line))}  # type: ignore[union-attr]
        assert outcomes == {"p-2": Outcome.ABORTED, "a-2": Outcome.ABORTED}
        line.close()
    assert debits(shop, order) == [3850]
    assert shop.rows(f"{order}-2") == []


@pytest.mark.parametrize("wire", ["tcp", "serial"])
def test_a_till_that_dies_after_sending_finds_the_same_payment_after_both_restarted(
    shop: Running,  # noqa: F811
    tmp_path: Path,
    wire: str,
) -> None:
    order = f"DIED-{wire}"
    shop.misbehave("drop-answer:2")
    with counter(shop.folder, wire, tmp_path) as kiosk:
        line = kiosk.connect()
        line.send(OpenPayment("p-1", order, AMOUNT))
        kiosk.until(Sent)
        line.send(Abort("a-1", order))
        assert told(heard(line)).outcome is Outcome.TOO_LATE
        line.close()
    shop.misbehave()
    with counter(shop.folder, wire, tmp_path) as kiosk:
        line = kiosk.connect()
        line.send(AskStatus("s-1", order))
        state = told(heard(line))
        assert state.outcome in (Outcome.NOT_FINAL, Outcome.APPROVED)
        line.close()
        end = sell(kiosk.connect, Sale(order, AMOUNT, wait_s=60))
        assert end is not None
        assert end.outcome is Outcome.APPROVED
    assert debits(shop, order) == [3850]
