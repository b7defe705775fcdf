"""Every wire to a till keeps the port's promises (`kiosk.domain.till.TillWire`), with the simulated till."""

from __future__ import annotations

import os
import pty
import queue
import select
import socket
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiosk.devices.till_serial import REOPEN_MS, SerialTill
from kiosk.devices.till_tcp import FRAME_MS, LOGIN_MS, MAX_CONNECTIONS, TcpTill
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.till import (
    Abort,
    Answered,
    AskStatus,
    Diagnose,
    News,
    OpenPayment,
    Outcome,
    Rejected,
    Request,
    Till,
    Told,
)
from kiosk.sandbox.till import SerialLine, TcpLine, TillLine, VanishedError
from kiosk.till.channel import GREETING_BYTES
from kiosk.till.ecr import ACK_MS, BYTE_MS, RETRIES, frame, write_request
from kiosk.till.nexo import TillSession

from ..conftest import VirtualClock

KEY = bytes(range(32))
PAY = OpenPayment("r-1", "A-1", Money(3850, "CNY"))
END = Told(
    Outcome.APPROVED,
    "A-1",
    Money(3850, "CNY"),
    "0199e5a0-0000-7000-8000-000000000001",
    approval="A1B2C3",
    rrn="000000000001",
    masked_payer="*小明",
    receipt=("街角小店", "", "TOTAL                              ¥ 38.50"),
)
ENQ, ACK, NAK = b"\x05", b"\x06", b"\x15"


class Rig:
    """One wire that listens, what it heard, and tills to talk to it with."""

    wire: Any

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.requests: queue.Queue[tuple[Request, Till]] = queue.Queue()
        self.warnings: queue.Queue[str] = queue.Queue()

    def heard(self, request: Request, till: Till) -> None:
        self.requests.put((request, till))

    def next(self) -> tuple[Request, Till]:
        return self.requests.get(timeout=10)

    def connect(self) -> TillLine:
        raise NotImplementedError

    def close(self) -> None:
        self.wire.close()


class TcpRig(Rig):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.wire = TcpTill("127.0.0.1", 0, key=KEY, poi_id="T-1", clock=self.clock, warn=self.warnings.put)
        self.wire.open(self.heard)

    def connect(self, key: bytes = KEY) -> TcpLine:
        return TcpLine("127.0.0.1", self.wire.port, key)

    def vanish(self, line: TcpLine) -> None:
        line.close()

    # --- bytes ---

    def raw(self) -> socket.socket:
        """A connection that says nothing; it has read the kiosk's greeting when a test has."""
        return socket.create_connection(("127.0.0.1", self.wire.port), 10)

    def frames(self, line: TcpLine, *requests: Request) -> bytes:
        return b"".join(line._channel.seal(line._session.write(request)) for request in requests)

    def write(self, line: TcpLine, data: bytes) -> None:
        line._socket.sendall(data)


class SerialRig(Rig):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.device = folder / "tty"
        self.sequence = 50
        self._plug()
        self.wire = SerialTill(str(self.device), 115200, clock=self.clock, warn=self.warnings.put)
        self.wire.open(self.heard)
        self._until_heard()

    def _until_heard(self) -> None:
        """What is written before the kiosk has opened its port is lost: a till enquires until it is heard."""
        heard = False
        while not heard:
            self.clock.advance(REOPEN_MS)
            self.wire._wake()
            os.write(self.till, ENQ)
            heard = bool(select.select([self.till], [], [], 0.1)[0])
        os.read(self.till, 99)

    def _plug(self) -> None:
        """A cable: the kiosk's end has a name, the till's is `till`."""
        self.till, self._kiosk = pty.openpty()
        tty.setraw(self._kiosk)
        self.device.unlink(missing_ok=True)
        self.device.symlink_to(os.ttyname(self._kiosk))

    def connect(self) -> SerialLine:
        if self.till is None:
            self._plug()
            self._until_heard()
        port, self.till = self.till, None
        return SerialLine(port, 115200)

    def vanish(self, line: SerialLine) -> None:
        os.close(self._kiosk)
        line._link.reset()
        line.close()

    def frames(self, line: SerialLine, *requests: Request) -> bytes:
        out = b""
        for request in requests:
            self.sequence += 1
            out += frame(f"{self.sequence:02}{write_request(request)}".encode())
        return out

    def write(self, line: SerialLine, data: bytes) -> None:
        os.write(line._port, data)


@pytest.fixture(params=[TcpRig, SerialRig], ids=["tcp", "serial"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    rig = request.param(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def tcp(tmp_path: Path) -> Iterator[TcpRig]:
    rig = TcpRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def serial(tmp_path: Path) -> Iterator[SerialRig]:
    rig = SerialRig(tmp_path)
    yield rig
    rig.close()


# --- both wires ---


@pytest.mark.parametrize(
    "request_", [PAY, Abort("r-2", "A-1"), AskStatus("r-3", "A/1%&=+;,"), Diagnose("r-4")], ids=repr
)
def test_a_request_arrives_as_it_was_said(rig, request_: Request) -> None:
    line = rig.connect()
    line.send(request_)
    heard, till = rig.next()
    assert heard == request_
    assert not till.gone
    line.close()


def test_its_answer_arrives_whole_and_names_the_request(rig) -> None:
    line = rig.connect()
    line.send(PAY)
    request, till = rig.next()
    till.answer(request, END)
    assert line.hear(10) == Answered("r-1", END)
    line.close()


def test_news_of_an_order_arrive_beside_the_answers(rig) -> None:
    line = rig.connect()
    line.send(AskStatus("r-1", "A-1"))
    request, till = rig.next()
    till.answer(request, Told(Outcome.NOT_FINAL, "A-1"))
    till.notify(END)
    answer = line.hear(10)
    assert isinstance(answer, Answered)
    assert (answer.id, answer.told.outcome) == ("r-1", Outcome.NOT_FINAL)
    assert line.hear(10) == News(END)
    line.close()


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_understood_by_the_till(rig, outcome: Outcome) -> None:
    line = rig.connect()
    for request in (PAY, Abort("r-2", "A-1"), AskStatus("r-3", "A-1"), Diagnose("r-4")):
        line.send(request)
        heard, till = rig.next()
        till.answer(heard, Told(outcome, "A-1", code="because"))
        answer = line.hear(10)
        assert isinstance(answer, Answered)
        assert (answer.id, answer.told.outcome, answer.told.code) == (request.id, outcome, "because")
    line.close()


def test_split_into_bytes_or_merged_into_one_it_is_the_same(rig) -> None:
    line, others = rig.connect(), [Diagnose("r-2"), Abort("r-3", "A-1")]
    for byte in rig.frames(line, PAY):
        rig.write(line, bytes([byte]))
    assert rig.next()[0] == PAY
    rig.write(line, rig.frames(line, *others))
    assert [rig.next()[0] for _ in others] == others
    line.close()


def test_the_same_frame_again_is_not_a_second_request(rig) -> None:
    line = rig.connect()
    data = rig.frames(line, PAY)
    rig.write(line, data + data)
    assert rig.next()[0] == PAY
    again = again_connected(rig, line)
    again.send(Diagnose("r-9"))
    assert rig.next()[0] == Diagnose("r-9")
    again.close()


def test_no_changed_byte_is_taken_for_a_request(rig) -> None:
    line = rig.connect()
    length = len(rig.frames(line, PAY))
    for index in range(0, length, 1 if isinstance(rig, SerialRig) else 17):
        line = again_connected(rig, line)
        data = bytearray(rig.frames(line, PAY))
        data[index] ^= 0x04
        rig.write(line, bytes(data) + ACK * 2)
        if isinstance(rig, TcpRig):
            line._socket.shutdown(socket.SHUT_WR)
        else:
            rig.write(line, ACK * 9)
    line = again_connected(rig, line)
    line.send(Diagnose("last"))
    assert rig.next()[0] == Diagnose("last")
    line.close()


def again_connected(rig: Any, line: Any) -> Any:
    """The line, or where one wrong byte ends a connection another one."""
    if isinstance(rig, SerialRig):
        rig.clock.advance(BYTE_MS)
        return line
    line.close()
    return rig.connect()


def test_after_garbage_the_next_request_is_heard(rig) -> None:
    line = rig.connect()
    rig.write(line, bytes(range(256)) * 20)
    again = again_connected(rig, line)
    again.send(PAY)
    assert rig.next()[0] == PAY
    again.close()


def test_a_till_that_vanished_is_gone_and_may_come_back(rig) -> None:
    line = rig.connect()
    line.send(PAY)
    request, till = rig.next()
    rig.vanish(line)
    again = rig.connect()
    again.send(AskStatus("r-2", "A-1"))
    asked, now = rig.next()
    assert (till.gone, now.gone) == (True, False)
    till.answer(request, END)  # nobody hears it
    now.answer(asked, END)
    assert again.hear(10) == Answered("r-2", END)
    again.close()


@pytest.mark.parametrize("request_", ["P", "S"], ids=["payment", "status"])
def test_what_is_well_formed_and_no_request_is_rejected_in_words(rig, request_: str) -> None:
    line = rig.connect()
    if isinstance(rig, TcpRig):
        body = b'{"SaleToPOIRequest": {"Payment": "38.50"}}' if request_ == "P" else b"\xff"
        rig.write(line, line._channel.seal(body))
    else:
        rig.write(line, frame(b"01P\x1cr-1\x1cA-1\x1c38.50\x1cCNY" if request_ == "P" else b"?\x1c\x1c"))
    said = line.hear(10)
    assert isinstance(said, Rejected)
    assert said.why
    line.send(PAY)
    assert rig.next()[0] == PAY
    line.close()


def test_closed_it_hears_nothing_more(rig) -> None:
    line = rig.connect()
    line.send(PAY)
    _, till = rig.next()
    rig.wire.close()
    assert till.gone
    rig.wire.close = lambda: None
    line.close()
    assert rig.requests.empty()


# --- TCP ---


def closed(sock: socket.socket) -> bool:
    """Whether the kiosk closed the connection, after whatever it said."""
    sock.settimeout(10)
    try:
        while sock.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_another_key_is_no_till(tcp: TcpRig) -> None:
    with pytest.raises(OperatorError, match="does not have this key"):
        tcp.connect(bytes(32))
    assert "does not verify" in tcp.warnings.get(timeout=10)
    assert tcp.requests.empty()


def test_a_recorded_connection_is_worth_nothing_on_another_one(tcp: TcpRig) -> None:
    spoken = []

    class Recorded(socket.socket):
        def sendall(self, data: Any, flags: int = 0) -> None:
            spoken.append(bytes(data))
            super().sendall(data, flags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", Recorded)
        line = tcp.connect()
        line.send(PAY)
    assert tcp.next()[0] == PAY
    line.close()
    with tcp.raw() as thief:
        thief.sendall(b"".join(spoken))
        assert closed(thief)
    assert tcp.requests.empty()


def test_what_the_kiosk_says_can_t_be_sent_back_to_it(tcp: TcpRig) -> None:
    with tcp.raw() as mirror:
        greeting = mirror.recv(GREETING_BYTES)
        mirror.sendall(greeting)
        assert closed(mirror)


@pytest.mark.parametrize("start", [b"", b"FPTILL1", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_does_not_log_in_in_time_is_shown_out(tcp: TcpRig, start: bytes) -> None:
    with tcp.raw() as stranger:
        stranger.sendall(start)
        stranger.recv(GREETING_BYTES)
        tcp.clock.advance(LOGIN_MS)
        assert closed(stranger)


def test_a_frame_that_never_ends_is_given_a_bounded_time(tcp: TcpRig) -> None:
    line = tcp.connect()
    data = tcp.frames(line, PAY)
    for byte in data[:-1]:  # each byte in time is still not a frame in time
        tcp.write(line, bytes([byte]))
    # The kiosk stamps a byte when it reads it, which may be later than now: time passes until it is enough.
    line._socket.setblocking(False)
    while not select.select([line._socket], [], [], 0.05)[0]:
        tcp.clock.advance(FRAME_MS)
    with pytest.raises(VanishedError):
        line.hear(10)
    assert tcp.requests.empty()
    line.close()


def test_a_till_that_is_logged_in_may_be_silent_for_a_day(tcp: TcpRig) -> None:
    line = tcp.connect()
    tcp.clock.advance(86_400_000)
    line.send(PAY)
    assert tcp.next()[0] == PAY
    line.close()


def test_strangers_do_not_keep_a_till_out(tcp: TcpRig) -> None:
    till = tcp.connect()
    strangers = [tcp.raw() for _ in range(3 * MAX_CONNECTIONS)]
    another = tcp.connect()
    for line in (till, another):
        line.send(PAY)
        assert tcp.next()[0] == PAY
        line.close()
    for stranger in strangers:
        stranger.close()


def test_one_till_more_than_there_is_room_for_is_turned_away(tcp: TcpRig) -> None:
    tills = [tcp.connect() for _ in range(MAX_CONNECTIONS)]
    with pytest.raises(OperatorError):
        tcp.connect()
    tills[0].close()
    tills[1].send(PAY)
    assert tcp.next()[0] == PAY
    tcp.connect().close()
    for till in tills[1:]:
        till.close()


def test_two_tills_are_told_apart(tcp: TcpRig) -> None:
    lines = [tcp.connect(), tcp.connect()]
    for line in lines:
        line.send(PAY)
        request, till = tcp.next()
        till.answer(request, Told(Outcome.BUSY, f"to-{lines.index(line)}"))
    assert [line.hear(10).told.order_ref for line in lines] == ["to-0", "to-1"]
    for line in lines:
        line.close()


def test_a_till_that_does_not_read_is_gone_one_day(tcp: TcpRig) -> None:
    line = tcp.connect()
    line.send(PAY)
    request, till = tcp.next()
    large = Told(Outcome.APPROVED, "A-1", receipt=("x" * 250,) * 50)
    for _ in range(100_000):
        if till.gone:
            break
        till.answer(request, large)
    assert till.gone
    assert "does not read" in tcp.warnings.get(timeout=10)
    line.close()


def test_requests_before_a_login_or_to_another_kiosk_are_rejected(tcp: TcpRig) -> None:
    line = tcp.connect()
    other = TillSession("TILL-2")
    tcp.write(line, line._channel.seal(other.write(PAY)))
    assert line.hear(10) == Rejected("LoggedOut: TILL-2 has not logged in on this connection")
    body = line._session.write(PAY).replace(b'"SaleID"', b'"POIID":"T-9","SaleID"')
    tcp.write(line, line._channel.seal(body))
    assert line.hear(10) == Rejected("this is POIID T-1")
    tcp.write(line, line._channel.seal(line._session.logout("bye")))
    line.send(PAY)
    assert isinstance(line.hear(10), Rejected)
    tcp.clock.advance(LOGIN_MS)
    with pytest.raises(VanishedError):
        line.hear(10)
    assert tcp.requests.empty()
    line.close()


def test_a_length_that_no_frame_has_ends_the_connection(tcp: TcpRig) -> None:
    for length in (0, 31, 2**32 - 1):
        line = tcp.connect()
        tcp.write(line, length.to_bytes(4, "big"))
        assert closed(line._socket)
        line.close()


def test_an_address_that_is_not_ours_or_is_in_use_is_the_operator_s_to_mend(tcp: TcpRig) -> None:
    for address, port, told in (
        ("203.0.113.1", 4880, r"till\.address"),
        ("127.0.0.1", tcp.wire.port, r"another program listens there already, perhaps another kiosk"),
        ("::ffff:203.0.113.1", 1, r"till\.address"),
    ):
        wire = TcpTill(address, port, key=KEY, poi_id="T-1", clock=tcp.clock)
        with pytest.raises(OperatorError, match=told):
            wire.open(tcp.heard)
        wire.close()


# --- serial ---


def read(rig: SerialRig, count: int) -> bytes:
    """What the kiosk wrote next; the till's end is not connected to a simulated till here."""
    os.set_blocking(rig.till, True)
    data = b""
    while len(data) < count:
        data += os.read(rig.till, count - len(data))
    return data


def pay_frame(sequence: int = 1) -> bytes:
    return frame(f"{sequence:02}{write_request(PAY)}".encode())


def test_a_whole_frame_is_acknowledged_and_a_damaged_one_is_not(serial: SerialRig) -> None:
    os.write(serial.till, pay_frame()[:-1] + b"\x00")
    assert read(serial, 1) == NAK
    os.write(serial.till, pay_frame())
    assert read(serial, 1) == ACK
    assert serial.next()[0] == PAY
    os.write(serial.till, b"\x05")
    assert read(serial, 1) == ACK


def test_a_repeat_is_acknowledged_and_dropped_until_the_till_begins_anew(serial: SerialRig) -> None:
    os.write(serial.till, pay_frame() * 2)
    assert read(serial, 2) == ACK * 2
    assert serial.next()[0] == PAY
    os.write(serial.till, b"\x05" + pay_frame())
    assert read(serial, 2) == ACK * 2
    assert serial.next()[0] == PAY
    assert serial.requests.empty()


def test_a_frame_that_breaks_off_is_refused_after_a_silence(serial: SerialRig) -> None:
    os.write(serial.till, pay_frame()[:9])
    advance_until(serial, BYTE_MS, NAK)
    os.write(serial.till, pay_frame())
    assert read(serial, 1) == ACK
    assert serial.next()[0] == PAY


def advance_until(serial: SerialRig, ms: int, wanted: bytes) -> None:
    """Let the wire see the bytes before time passes: it stamps them with the clock when it reads them."""
    os.set_blocking(serial.till, False)
    for _ in range(10_000):
        serial.clock.advance(ms)
        try:
            assert os.read(serial.till, 1) == wanted
        except BlockingIOError:
            serial.wire._wake()
        else:
            return
    raise AssertionError("nothing came")


def answered(serial: SerialRig) -> bytes:
    """The frame with which the kiosk answers, once."""
    os.write(serial.till, pay_frame())
    assert read(serial, 1) == ACK
    request, till = serial.next()
    till.answer(request, Told(Outcome.BUSY, "A-1"))
    first = read(serial, 1)
    while first[-2:-1] != b"\x03" or len(first) < 4:
        first += read(serial, 1)
    assert first[:1] == b"\x02"
    return first


def test_nobody_acknowledges_and_it_is_sent_four_times_in_all(serial: SerialRig) -> None:
    first = answered(serial)
    for _ in range(RETRIES):
        assert again(serial, 2 * ACK_MS) == first
    os.write(serial.till, pay_frame(2))
    assert read(serial, 1) == ACK, "given up, and nothing more of it comes"


def again(serial: SerialRig, ms: int) -> bytes:
    serial.clock.advance(ms)
    serial.wire._wake()
    received = read(serial, 1)
    while received[-2:-1] != b"\x03" or len(received) < 4:
        received += read(serial, 1)
    return received


def test_a_storm_of_nak_is_answered_four_times_in_all(serial: SerialRig) -> None:
    first = answered(serial)
    os.write(serial.till, NAK * 500)
    assert read(serial, RETRIES * len(first)) == first * RETRIES
    os.write(serial.till, NAK * 500 + pay_frame(2))
    assert read(serial, 1) == ACK


def test_an_answer_that_was_damaged_once_arrives(serial: SerialRig) -> None:
    first = answered(serial)
    os.write(serial.till, NAK)
    assert read(serial, len(first)) == first
    os.write(serial.till, ACK + pay_frame(2))
    assert read(serial, 1) == ACK


def test_a_till_that_does_not_read_holds_up_nothing_and_is_gone_one_day(serial: SerialRig) -> None:
    os.write(serial.till, pay_frame())
    assert read(serial, 1) == ACK
    request, till = serial.next()
    for _ in range(5):
        till.answer(request, Told(Outcome.APPROVED, "A-1", receipt=("x" * 42,) * 150))
    for number in range(2, 50):  # each of them is asked for again by NAK, and nobody reads
        os.write(serial.till, NAK * 4 + pay_frame(number) + ACK)
        assert serial.next()[0] == PAY
        if till.gone:
            break
    serial.wire.close()  # returns
    assert till.gone


def test_a_line_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    rig = SerialRig(tmp_path)
    rig.close()
    wire = SerialTill(str(tmp_path / "none"), 9600, clock=rig.clock, warn=rig.warnings.put)
    wire.open(rig.heard)
    assert "is not there" in rig.warnings.get(timeout=10)
    (tmp_path / "none").symlink_to(os.ttyname(rig._kiosk))
    rig.wire = wire
    rig._until_heard()
    os.write(rig.till, pay_frame())
    assert rig.next()[0] == PAY
    rig.close()
