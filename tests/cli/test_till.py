"""`kiosk till key`, `kiosk sandbox till` and the doctor's look at the link."""

from __future__ import annotations

import json
import os
import pty
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kiosk.acquirer.journal import Journal
from kiosk.app.workers import SystemClock
from kiosk.devices.till_serial import SerialTill
from kiosk.devices.till_tcp import TcpTill
from kiosk.domain.till import Abort, OpenPayment, Outcome, Request, Till, TillWire, Told
from kiosk.till.key import KEY_NAME, read_key

from .conftest import Kiosk
from .test_doctor import examined

Answering = Callable[[Request, Till], None]


@pytest.fixture
def key(kiosk: Kiosk, tmp_path: Path) -> Path:
    ran = kiosk("till", "key", "--data-dir", tmp_path)
    assert ran.code == 0, ran.err
    return tmp_path / KEY_NAME


@pytest.fixture
def listening(key: Path) -> Iterator[Callable[[Answering], str]]:
    """A kiosk's wire whose answers are a test's; where it listens."""
    wires: list[TcpTill] = []

    def listen(answering: Answering) -> str:
        wires.append(TcpTill("127.0.0.1", 0, key=read_key(key), poi_id="T-1", clock=SystemClock()))
        wires[-1].open(answering)
        return f"127.0.0.1:{wires[-1].port}"

    yield listen
    for wire in wires:
        wire.close()


def told(outcome: Outcome, **more: object) -> Answering:
    def answer(request: Request, till: Till) -> None:
        assert isinstance(request, OpenPayment)
        till.answer(request, Told(outcome, request.order_ref, request.amount, **more))  # type: ignore[arg-type]

    return answer


# --- the key ---


def test_a_key_is_made_once_for_its_owner_only_and_never_shown(kiosk: Kiosk, tmp_path: Path) -> None:
    first = kiosk("till", "key", "--data-dir", tmp_path, "--json")
    path = Path(json.loads(first.out)["file"])
    assert path == tmp_path / KEY_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() not in first.out
    again = kiosk("till", "key", "--data-dir", tmp_path)
    assert again.code == 2
    assert "there is a key already" in again.err
    assert again.err.count("\n") == 1


def test_a_key_goes_where_the_configuration_or_the_command_says(kiosk: Kiosk, tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text(f'[till]\nkey_file = "{tmp_path}/shared.key"\n')
    assert kiosk("till", "key", "--data-dir", tmp_path).code == 0
    assert kiosk("till", "key", "--data-dir", tmp_path, "--out", tmp_path / "other.key").code == 0
    assert read_key(tmp_path / "shared.key") != read_key(tmp_path / "other.key")
    nowhere = kiosk("till", "key", "--data-dir", tmp_path, "--out", tmp_path / "none" / "till.key")
    assert nowhere.code == 2
    assert "can't be written" in nowhere.err


# --- the simulated till ---


def sell(kiosk: Kiosk, key: Path, where: str, *more: str) -> tuple[int, str, str]:
    ran = kiosk("sandbox", "till", "--amount", "38.50", "--tcp", where, "--data-dir", key.parent, *more)
    return ran.code, ran.out, ran.err


def test_an_approved_order_prints_what_a_cashier_wants_to_see(
    kiosk: Kiosk, key: Path, listening: Callable[[Answering], str]
) -> None:
    where = listening(told(Outcome.APPROVED, approval="A1B2C3", receipt=("PAYMENT APPROVED",)))
    code, out, err = sell(kiosk, key, where, "--order", "A-1")
    assert (code, err) == (0, "")
    assert out.startswith("APPROVED ¥ 38.50 order A-1 approval A1B2C3")
    assert "PAYMENT APPROVED" in out


@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.BUSY, Outcome.RETURNED, Outcome.MISMATCH])
def test_what_was_not_paid_is_one_line_and_10(
    kiosk: Kiosk, key: Path, listening: Callable[[Answering], str], outcome: Outcome
) -> None:
    where = listening(told(outcome, code="because"))
    code, out, err = sell(kiosk, key, where, "--order", "A-1")
    assert (code, out, err) == (10, "", f"kiosk: order A-1: {outcome} (because)\n")


def test_json_is_one_object(kiosk: Kiosk, key: Path, listening: Callable[[Answering], str]) -> None:
    where = listening(told(Outcome.APPROVED, rrn="000000000001", masked_payer="*明"))
    code, out, _ = sell(kiosk, key, where, "--json")
    report = json.loads(out)
    assert (code, report["exit_code"], report["outcome"]) == (0, 0, "approved")
    assert (report["amount"], report["rrn"], report["masked_payer"]) == ("38.50", "000000000001", "*明")


def test_without_an_end_it_is_14_and_do_not_pay_again(
    kiosk: Kiosk, key: Path, listening: Callable[[Answering], str]
) -> None:
    def open_still(request: Request, till: Till) -> None:
        till.notify(Told(Outcome.NOT_FINAL, "A-1"))

    code, _, err = sell(kiosk, key, listening(open_still), "--order", "A-1", "--wait", "0.3")
    assert code == 14
    assert err.splitlines()[0] == "kiosk: order A-1 is not final: do not pay again"
    assert "don't pay again" in err.splitlines()[1]
    code, out, _ = sell(kiosk, key, listening(open_still), "--wait", "0.1", "--json")
    assert (code, json.loads(out)["outcome"]) == (14, "not_final")


def test_an_abort_is_sent_after_its_time_and_its_answer_is_told(
    kiosk: Kiosk, key: Path, listening: Callable[[Answering], str]
) -> None:
    asked: list[Request] = []

    def heard(request: Request, till: Till) -> None:
        asked.append(request)
        if isinstance(request, Abort):
            till.answer(request, Told(Outcome.ABORTED, "A-1"))
            till.answer(asked[0], Told(Outcome.ABORTED, "A-1"))

    code, _, err = sell(kiosk, key, listening(heard), "--order", "A-1", "--abort-after", "0.1")
    assert code == 10
    assert err == "kiosk: abort: aborted\nkiosk: order A-1: aborted\n"


def test_over_a_serial_line_it_is_the_same(kiosk: Kiosk, tmp_path: Path) -> None:
    kiosk_end, till_end = pty.openpty(), pty.openpty()
    wire: TillWire = SerialTill(os.ttyname(kiosk_end[1]), 9600, clock=SystemClock())
    with crossed(kiosk_end[0], till_end[0]):
        wire.open(told(Outcome.APPROVED, approval="A1B2C3"))
        ran = kiosk("sandbox", "till", "--amount", "38.50", "--serial", os.ttyname(till_end[1]))
    wire.close()
    for end in (*kiosk_end, *till_end):
        os.close(end)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("APPROVED")


class crossed:  # noqa: N801 - reads as a context
    """A null modem between two pseudo-terminals."""

    def __init__(self, one: int, other: int) -> None:
        import threading

        self._ends = {one: other, other: one}
        self._stop = os.pipe()
        self._thread = threading.Thread(target=self._pump)

    def _pump(self) -> None:
        import select

        while True:
            ready, _, _ = select.select([*self._ends, self._stop[0]], [], [])
            if self._stop[0] in ready:
                return
            for end in ready:
                os.write(self._ends[end], os.read(end, 4096))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        os.write(self._stop[1], b"\0")
        self._thread.join()
        for end in self._stop:
            os.close(end)


@pytest.mark.parametrize(
    ("arguments", "told_"),
    [
        (["--amount", "0"], "more than zero"),
        (["--amount", "38.505"], "decimals"),
        (["--amount", "1", "--order", "A 1"], "without a space"),
        (["--amount", "1", "--tcp", "here"], "--tcp"),
        (["--amount", "1", "--tcp", "127.0.0.1:99999"], "--tcp"),
        (["--amount", "1", "--tcp", "127.0.0.1:1"], "no kiosk answers"),
        (["--amount", "1", "--serial", "/dev/none"], "can't be opened"),
        (["--amount", "1", "--serial", "/dev/null"], "not a serial port"),
    ],
)
def test_wrong_use_is_one_line(kiosk: Kiosk, key: Path, arguments: list[str], told_: str) -> None:
    ran = kiosk("sandbox", "till", "--data-dir", key.parent, *arguments)
    assert ran.code == 2
    assert told_ in ran.err
    assert ran.err.count("\n") == 1


def test_without_the_key_or_with_another_one_it_says_so(
    kiosk: Kiosk, key: Path, tmp_path: Path, listening: Callable[[Answering], str]
) -> None:
    where = listening(told(Outcome.APPROVED))
    other = tmp_path / "other"
    other.mkdir()
    assert "kiosk till key" in sell(kiosk, other / KEY_NAME, where)[2]
    kiosk("till", "key", "--data-dir", other)
    code, _, err = sell(kiosk, other / KEY_NAME, where)
    assert code == 2
    assert "does not have this key" in err


# --- the doctor ---


def test_the_doctor_looks_at_the_link(kiosk: Kiosk, tmp_path: Path, key: Path) -> None:
    def link(settings: str) -> dict[str, str]:
        return examined(kiosk, tmp_path, f"[till]\n{settings}\n")["till_link"]

    assert link("")["status"] == "green"
    found = link('link = "tcp"\nport = 4881')
    assert (found["status"], found["detail"]) == ("green", "TCP, 127.0.0.1 port 4881")
    found = link('link = "tcp"\naddress = "203.0.113.7"')
    assert found["status"] == "red"
    assert "till.address" in found["action"]
    found = link('link = "serial"\ndevice = "/dev/none"')
    assert (found["status"], "not there" in found["detail"]) == ("red", True)
    ends = pty.openpty()
    assert link(f'link = "serial"\ndevice = "{os.ttyname(ends[1])}"')["status"] == "green"
    for end in ends:
        os.close(end)
    key.chmod(0o644)
    found = link('link = "tcp"')
    assert (found["status"], "chmod 600" in found["action"]) == ("red", True)


def test_beside_a_running_kiosk_its_port_is_its_own(
    kiosk: Kiosk, key: Path, listening: Callable[[Answering], str]
) -> None:
    port = listening(told(Outcome.READY)).rpartition(":")[2]
    settings = f'[till]\nlink = "tcp"\nport = {port}'
    assert examined(kiosk, key.parent, settings)["till_link"]["status"] == "red"
    with Journal(key.parent / "journal.sqlite"):
        assert examined(kiosk, key.parent, settings)["till_link"]["status"] == "green"
