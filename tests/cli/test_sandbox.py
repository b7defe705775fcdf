"""`kiosk sandbox` as people run it: what stands in its way is one line with what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kiosk.acquirer.client import Lost, Verified
from kiosk.acquirer.messages import policy_request
from kiosk.cli.processes import command
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.payment import Result
from kiosk.sandbox import files, server
from kiosk.sandbox.authorise import Terms

from ..acquirer.parts import a_payment, an_effect
from ..permissions import of_somebody_else
from ..sandbox.conftest import Running, running
from .conftest import Kiosk, Ran


def refused(ran: Ran, *told: str) -> None:
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    for part in told:
        assert part in ran.err


def test_a_full_disk_is_one_line_and_leaves_no_half_key(
    kiosk: Kiosk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    refused(kiosk("sandbox", "--data-dir", tmp_path, "--port", "0"), "acquirer.key", "No space", "Free")
    assert not list((tmp_path / "sandbox").glob("acquirer.*"))


def test_a_folder_that_a_sandbox_uses_is_refused_in_one_line(kiosk: Kiosk, tmp_path: Path) -> None:
    with running(tmp_path):
        refused(kiosk("sandbox", "--data-dir", tmp_path, "--port", "0"), "another sandbox", "--data-dir")


@pytest.mark.parametrize("name", ["acquirer.key", "policy.key"])
@pytest.mark.parametrize("content", [b"", b"not a key\n"])
def test_a_key_that_is_none_is_one_line(kiosk: Kiosk, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / name).write_bytes(content)
    refused(kiosk("sandbox", "--data-dir", tmp_path, "--port", "0"), name, "not a P-256", "Remove it")


@pytest.mark.parametrize(
    ("closed", "arguments"),
    [
        ("", ["--port", "0"]),
        ("", ["ledger"]),
        ("", ["trust", "device.pub"]),
        ("sandbox", ["--port", "0"]),
        ("sandbox", ["ledger"]),
    ],
)
def test_a_folder_of_somebody_else_is_one_line(
    kiosk: Kiosk, public_dir: Path, closed: str, arguments: list[str]
) -> None:
    assert server  # imported while its files may be read
    (public_dir / "sandbox").mkdir()
    at = ["--data-dir", str(public_dir)]
    whole = [*at, *arguments] if arguments[0] == "--port" else [*arguments, *at]
    with of_somebody_else(public_dir / closed):
        ran = kiosk("sandbox", *whole)
    refused(ran, str(public_dir), "denied", "--data-dir")


def test_trust_says_where_the_key_is_believed_from_now_on(kiosk: Kiosk, tmp_path: Path) -> None:
    key = SoftwareKey.load_or_create(tmp_path / "device.key")
    folder = tmp_path / "acquirer"
    ran = kiosk("sandbox", "trust", tmp_path / "device.pub", "--data-dir", folder)
    assert ran.out == f"trusted {key.key_id} in {folder / 'sandbox' / 'terminals.json'}\n"


def test_the_books_show_which_terminal_asked(kiosk: Kiosk, tmp_path: Path) -> None:
    effect = an_effect()
    with running(tmp_path) as sandbox:
        sandbox.client().send(a_payment(effect))
    out = kiosk("sandbox", "ledger", "--data-dir", tmp_path).out
    (line,) = [line for line in out.splitlines() if effect.ref in line]
    assert "m-100/s-1/t-7" in line


@contextmanager
def overheard(folder: Path, *options: str) -> Iterator[tuple[Running, list[str]]]:
    """A sandbox, and what it complained about once the block has ended."""
    process = subprocess.Popen(
        command("sandbox", "--data-dir", folder, "--port", "0", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    complaints: list[str] = []
    try:
        yield Running(folder, process, process.stdout.readline().split()[2]), complaints
    finally:
        process.terminate()
        complaints += process.communicate(timeout=20)[1].splitlines()


@pytest.mark.parametrize("fault", ["drop-answer", "duplicate", "delay:0.1", "bad-signature"])
def test_an_intended_fault_is_not_logged_as_a_bug(tmp_path: Path, fault: str) -> None:
    with overheard(tmp_path, "--fault", fault) as (sandbox, complaints):
        sandbox.client().send(a_payment(an_effect()))
    assert complaints == []


def test_what_stands_in_the_way_later_is_one_line_a_call_and_mended_without_a_restart(tmp_path: Path) -> None:
    payers, policy = (tmp_path / "sandbox" / f"{name}.json" for name in ("payers", "policy"))
    with overheard(tmp_path) as (sandbox, complaints):
        payers.write_text("{")
        reply = sandbox.client().send(a_payment(an_effect()))
        assert isinstance(reply, Verified)
        assert (reply.answer.result, reply.answer.code) == (Result.DECLINED, "malfunction")
        payers.unlink()
        reply = sandbox.client().send(a_payment(an_effect()))
        assert isinstance(reply, Verified)
        assert reply.answer.result is Result.APPROVED
        policy.write_text('{"currency": 1}')
        reply = sandbox.client().send(policy_request())
        assert isinstance(reply, Lost)
        assert (reply.code, "policy.json: can't be used" in reply.why) == ("unavailable", True)
        assert "$.currency" in reply.why
    assert [str(payers) in complaints[0], str(policy) in complaints[1]] == [True, True]
    assert all("Mend or remove it" in line for line in complaints)


def test_a_sandbox_does_not_start_with_a_file_that_can_t_be_used(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    payers = tmp_path / "sandbox" / "payers.json"
    payers.write_text('{"pyr-1": {"balance_minor": "10.00", "currency": "CNY"}}')
    asked = command("sandbox", "--data-dir", tmp_path, "--port", "0")
    ran = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"kiosk: {payers}: can't be used: Expected `int`, got `str` - at `$[...].balance_minor`."
        " Mend or remove it.\n"
    )


def test_a_sandbox_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = f"""
import os, pathlib
from kiosk.cli.processes import running_sandbox
with running_sandbox(pathlib.Path({str(tmp_path)!r})) as address:
    os._exit(9)
"""
    ran = subprocess.run([sys.executable, "-c", starter], timeout=60, check=False)
    assert ran.returncode == 9
    with (tmp_path / "sandbox" / "sandbox.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for the sandbox's end; the test's time limit is the bound


@pytest.mark.parametrize(
    "command",
    [
        ["sandbox"],
        ["sandbox", "trust"],
        ["sandbox", "ledger"],
        ["eval", "identify"],
        ["eval", "verify"],
        ["eval", "pad"],
        ["bench"],
        ["doctor"],
        ["screenshot"],
    ],
)
def test_help_has_an_example_that_can_be_typed(kiosk: Kiosk, command: list[str]) -> None:
    assert f"Example: kiosk {' '.join(command)} " in " ".join(kiosk(*command, "--help").out.split())


def test_the_sandbox_tells_its_limit_per_payer_and_hour(kiosk: Kiosk) -> None:
    told = " ".join(kiosk("sandbox", "--help").out.split())
    assert f"{Terms().ceiling.per_person_hour_count} approvals per payer and hour" in told
    assert "--until-parent-ends" not in told
