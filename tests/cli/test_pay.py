"""`kiosk pay` against a real sandbox: every exit code, one line each, and money that is never doubled."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.acquirer.journal import Journal
from kiosk.cli.processes import command
from kiosk.sandbox.recapture import as_print, as_screen

from ..sandbox.conftest import Running
from .conftest import DEMO, PAYER, Kiosk, Ran

PROBE = DEMO / "probe" / f"{PAYER}.jpg"
STRANGER = DEMO / "probe" / "stranger.jpg"


def pay(kiosk: Kiosk, shop: Running, *more: str | Path, camera: Path = PROBE, amount: str = "38.50") -> Ran:
    return kiosk("pay", "--camera", camera, "--amount", amount, "--data-dir", shop.folder, *more)


def one_line(ran: Ran) -> str:
    assert ran.err.count("\n") == 1, ran.err
    assert ran.err.startswith("kiosk: ")
    return ran.err


def debits(shop: Running, order: str) -> list[int]:
    return [row.debited_minor for row in shop.rows(order) if row.debited_minor]


def test_an_enrolled_payer_s_photograph_is_approved_and_debited_once(kiosk: Kiosk, shop: Running) -> None:
    ran = pay(kiosk, shop, "--order", "P-1")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("APPROVED ¥ 38.50 order P-1 ")
    assert "PAYMENT APPROVED" in ran.out
    assert debits(shop, "P-1") == [3850]


def test_json_is_one_object_and_nothing_else(kiosk: Kiosk, shop: Running) -> None:
    ran = pay(kiosk, shop, "--json", "--order", "P-2")
    report = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert report["outcome"] == "approved"
    assert report["liveness"] == "live"
    assert report["approval"]


def test_a_stranger_is_not_recognised(kiosk: Kiosk, shop: Running) -> None:
    ran = pay(kiosk, shop, "--order", "P-3", camera=STRANGER)
    assert ran.code == 11
    assert "not recognised" in one_line(ran)
    assert shop.rows("P-3") == []


@pytest.mark.parametrize("recapture", [as_print, as_screen])
def test_a_recapture_of_the_payer_is_a_suspected_attack(
    kiosk: Kiosk, shop: Running, tmp_path: Path, recapture: object
) -> None:
    picture = cv2.cvtColor(cv2.imread(str(PROBE)), cv2.COLOR_BGR2RGB)
    attack = recapture(np.asarray(picture, np.uint8), 17)  # type: ignore[operator]
    cv2.imwrite(str(tmp_path / "attack.png"), cv2.cvtColor(attack, cv2.COLOR_RGB2BGR))
    ran = pay(kiosk, shop, "--order", "P-4", camera=tmp_path / "attack.png")
    assert ran.code == 12
    assert "presentation attack suspected" in one_line(ran)
    assert shop.rows("P-4") == []


def test_no_face_is_said_so(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((480, 640, 3), 127, np.uint8))
    ran = pay(kiosk, shop, camera=tmp_path / "wall.png")
    assert ran.code == 13
    assert "no usable face" in one_line(ran)


def test_two_faces_stop_the_look(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    picture = cv2.imread(str(PROBE))
    cv2.imwrite(str(tmp_path / "two.png"), np.hstack([picture, picture]))
    ran = pay(kiosk, shop, camera=tmp_path / "two.png")
    assert ran.code == 13
    assert "one person" in one_line(ran)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--amount", "0"], 2, "more than zero"),
        (["--amount", "-5"], 2, "negative"),
        (["--amount", "12.345"], 2, "decimals"),
        (["--amount", "1e3"], 2, "not a number"),
        (["--amount", "38.50", "--currency", "XYZ"], 2, "unknown currency"),
        (["--amount", "38.50", "--currency", "EUR"], 2, "not taken here"),
        (["--amount", "38.50", "--digits", "12a4"], 2, "--digits"),
        (["--amount", "38.50", "--order", "two\nlines"], 2, "--order"),
        (["--amount", "99999.00"], 16, "over the limit"),
    ],
)
def test_a_wrong_amount_or_order_is_one_line_and_sends_nothing(
    kiosk: Kiosk, shop: Running, arguments: list[str], code: int, told: str
) -> None:
    ran = kiosk("pay", "--camera", PROBE, "--data-dir", shop.folder, *arguments)
    assert ran.code == code
    assert told in one_line(ran)


@pytest.mark.parametrize("source", ["/dev/video99", "pi", "nothing.jpg", "corrupt.jpg", "empty"])
def test_a_camera_that_isn_t_there_or_a_broken_picture_is_wrong_use(
    kiosk: Kiosk, shop: Running, tmp_path: Path, source: str
) -> None:
    (tmp_path / "corrupt.jpg").write_bytes(PROBE.read_bytes()[:300] + b"\0" * 200)
    (tmp_path / "empty").mkdir()
    camera = source if source.startswith(("/dev", "pi")) else tmp_path / source
    ran = pay(kiosk, shop, camera=Path(camera))
    assert ran.code == 2
    one_line(ran)


def test_the_same_request_twice_is_one_payment(kiosk: Kiosk, shop: Running) -> None:
    first = pay(kiosk, shop, "--order", "P-5", "--json")
    again = pay(kiosk, shop, "--order", "P-5", "--json", camera=STRANGER)
    assert (first.code, again.code) == (0, 0)
    told, repeated = json.loads(first.out), json.loads(again.out)
    assert (told["again"], repeated["again"]) == (False, True)
    assert repeated["ref"] == told["ref"]
    assert repeated["approval"] == told["approval"]
    assert debits(shop, "P-5") == [3850]


def test_another_amount_for_a_paid_order_is_wrong_use(kiosk: Kiosk, shop: Running) -> None:
    assert pay(kiosk, shop, "--order", "P-51").code == 0
    ran = pay(kiosk, shop, "--order", "P-51", amount="39.00")
    assert ran.code == 2
    assert "is paid with ¥ 38.50" in one_line(ran)
    assert debits(shop, "P-51") == [3850]


def test_an_order_whose_attempt_is_open_is_not_paid_again(kiosk: Kiosk, shop: Running) -> None:
    shop.misbehave("drop-answer:9")
    first = pay(kiosk, shop, "--order", "P-52", "--resolve", "0", "--json")
    again = pay(kiosk, shop, "--order", "P-52", "--resolve", "0", "--json")
    assert (first.code, again.code) == (14, 14)
    assert json.loads(again.out)["ref"] == json.loads(first.out)["ref"]
    shop.misbehave()
    assert pay(kiosk, shop, "--order", "P-52").code == 0
    assert debits(shop, "P-52") == [3850]


def test_an_empty_order_is_none_and_a_closed_pipe_hides_no_approval(
    kiosk: Kiosk, shop: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = pay(kiosk, shop, "--order", "")
    assert refused.code == 2
    assert "--order" in one_line(refused)

    def gone(line: str = "") -> None:
        raise BrokenPipeError

    with monkeypatch.context() as closed:
        closed.setattr("kiosk.cli.pay.say", gone)
        closed.setattr("kiosk.cli.pay.os.dup2", lambda *handles: None)
        assert pay(kiosk, shop, "--order", "P-58").code == 0
    assert [row.debited_minor for row in shop.rows("P-58")] == [3850]


def test_paid_at_another_kiosk_is_said_so(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    assert pay(kiosk, shop, "--order", "P-53").code == 0
    folder = tmp_path / "second"
    (folder / "sandbox").mkdir(parents=True)
    for name in ("acquirer.json", "scheme.json"):
        shutil.copy(shop.folder / "sandbox" / name, folder / "sandbox" / name)
    (folder / "kiosk.toml").write_text('[store]\nterminal_id = "T-DEMO-0002"\n')
    enrolled = ("--camera", DEMO / "enrol" / PAYER, "--payer", PAYER, "--data-dir", folder)
    assert kiosk("enrol", *enrolled).code == 0
    assert kiosk("sandbox", "trust", folder / "device.pub", "--data-dir", shop.folder).code == 0
    ran = kiosk("pay", "--camera", PROBE, "--amount", "38.50", "--order", "P-53", "--data-dir", folder)
    assert ran.code == 10
    assert "was paid elsewhere" in one_line(ran)


def test_a_journal_that_was_lost_is_noticed_by_the_acquirer_and_nothing_more_is_sold(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    assert pay(kiosk, shop, "--order", "P-55").code == 0
    folder = tmp_path / "copy"
    shutil.copytree(shop.folder, folder)
    for part in folder.glob("journal.sqlite*"):
        part.unlink()
    again = ("--camera", PROBE, "--amount", "38.50", "--data-dir", folder)
    assert kiosk("pay", *again, "--order", "P-56", "--resolve", "0").code == 14
    assert shop.rows("P-56") == []
    refused = kiosk("pay", *again, "--order", "P-57")
    assert refused.code == 2
    assert "kiosk journal recover" in one_line(refused)
    assert shop.rows("P-57") == []


def test_an_amount_above_the_cap_of_a_look_is_paid_with_the_wallet_pin(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    def paid(order: str, *options: str | Path) -> Ran:
        where = ("--data-dir", shop.folder)
        return kiosk("pay", "--camera", PROBE, "--amount", "600", "--order", order, *options, *where)

    (tmp_path / "right").write_text("246810\n")
    (tmp_path / "wrong").write_text("1357")
    (tmp_path / "none").write_text("12a4")
    asked = paid("P-60")
    assert asked.code == 15
    assert "--pin-file" in one_line(asked)
    wrong = paid("P-61", "--pin-file", tmp_path / "wrong")
    assert wrong.code == 10
    assert "wrong_pin" in one_line(wrong)
    assert "1357" not in wrong.out + wrong.err
    for unusable in ("none", "not there"):
        refused = paid("P-62", "--pin-file", tmp_path / unusable)
        assert refused.code == 2
        assert "12a4" not in refused.out + refused.err
    assert paid("P-61", "--pin-file", tmp_path / "right").code == 0
    assert [row.debited_minor for row in shop.rows("P-61")] == [0, 60_000]
    assert shop.rows("P-60") + shop.rows("P-62") == []
    kept = b"".join(path.read_bytes() for path in shop.folder.rglob("*") if path.is_file())
    assert b"246810" not in kept


def test_digits_of_somebody_else_contradict_the_face(kiosk: Kiosk, shop: Running) -> None:
    ran = pay(kiosk, shop, "--digits", "0000", "--order", "P-54")
    assert ran.code == 11
    assert "digits" in one_line(ran)
    assert shop.rows("P-54") == []
    assert pay(kiosk, shop, "--digits", "4821", "--order", "P-54").code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_the_outcome_is_unknown_it_says_what_is_known(
    kiosk: Kiosk, shop: Running, number: signal.Signals
) -> None:
    shop.misbehave("drop-answer:9")
    order = f"P-stop-{number}"
    arguments = command("pay", "--camera", PROBE, "--amount", "38.50", "--order", order)
    process = subprocess.Popen(
        [*arguments, "--data-dir", str(shop.folder)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not shop.rows(order) and time.monotonic() < deadline:
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 14
    assert "don't pay again" in err
    shop.misbehave()
    assert pay(kiosk, shop, "--order", order).code == 0
    assert debits(shop, order) == [3850]


def test_declined_by_the_acquirer(kiosk: Kiosk, shop: Running) -> None:
    shop.misbehave("decline")
    ran = pay(kiosk, shop, "--order", "P-6")
    assert ran.code == 10
    assert "nothing was charged" in one_line(ran)
    assert debits(shop, "P-6") == []


@pytest.mark.parametrize("fault", ["bad-signature", "alter-body", "drop-answer"])
def test_an_answer_that_can_t_be_verified_is_unknown_and_then_resolved(
    kiosk: Kiosk, shop: Running, fault: str
) -> None:
    shop.misbehave(fault)
    ran = pay(kiosk, shop, "--order", f"P-{fault}", "--resolve", "0")
    assert ran.code == 14
    assert "don't pay again" in one_line(ran)
    with Journal(shop.folder / "journal.sqlite") as journal:
        assert [attempt.order.order_ref for attempt in journal.open_attempts()] == [f"P-{fault}"]
    assert kiosk("resolve", "--data-dir", shop.folder).code == 0
    assert debits(shop, f"P-{fault}") == [3850]
    with Journal(shop.folder / "journal.sqlite") as journal:
        assert journal.open_attempts() == []
        assert journal.payments(1)[0].answer is not None


def test_an_unknown_outcome_is_asked_for_while_the_payer_waits(kiosk: Kiosk, shop: Running) -> None:
    shop.misbehave("drop-answer")
    ran = pay(kiosk, shop, "--order", "P-7")
    assert ran.code == 0
    assert debits(shop, "P-7") == [3850]


def test_killed_after_sending_the_payment_is_resolved_at_the_next_start(kiosk: Kiosk, shop: Running) -> None:
    shop.misbehave("drop-answer")
    arguments = command("pay", "--camera", PROBE, "--amount", "38.50", "--order", "P-8")
    process = subprocess.Popen([*arguments, "--data-dir", str(shop.folder)])
    deadline = time.monotonic() + 30
    while not shop.rows("P-8") and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    ran = pay(kiosk, shop, "--order", "P-8")  # the next start: the same order must not be paid again
    assert ran.code == 0
    assert "paid before" in ran.out
    assert kiosk("resolve", "--data-dir", shop.folder).code == 0
    assert debits(shop, "P-8") == [3850]
    with Journal(shop.folder / "journal.sqlite") as journal:
        assert journal.verify() is None
        assert journal.open_attempts() == []


def test_without_an_acquirer_nothing_is_sent(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    """A copy of the kiosk's folder whose sandbox has gone away."""
    assert pay(kiosk, shop).code == 0  # there is a policy, whatever test came first
    folder = tmp_path / "alone"
    shutil.copytree(shop.folder, folder)
    trust = folder / "sandbox" / "acquirer.json"
    trust.write_text(trust.read_text().replace(shop.address, "http://127.0.0.1:9"))
    for has_policy in (True, False):
        if not has_policy:
            (folder / "policy.jws").unlink()
        ran = kiosk("pay", "--camera", PROBE, "--amount", "38.50", "--data-dir", folder)
        assert ran.code == 17
        assert "nothing" in one_line(ran)
    with Journal(folder / "journal.sqlite") as journal:
        assert journal.open_attempts() == []


def test_a_key_that_the_acquirer_does_not_know_is_wrong_use(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "stolen"
    (folder / "sandbox").mkdir(parents=True)
    shutil.copy(shop.folder / "sandbox" / "acquirer.json", folder / "sandbox")
    ran = kiosk("pay", "--camera", PROBE, "--amount", "38.50", "--data-dir", folder)
    assert ran.code == 2
    assert "does not know this kiosk's key" in one_line(ran)


def test_nobody_enrolled_is_not_recognised_and_says_what_to_do(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    shutil.copytree(shop.folder, folder)
    shutil.rmtree(folder / "gallery")
    (folder / "gallery.mark").unlink()
    ran = kiosk("pay", "--camera", PROBE, "--amount", "38.50", "--data-dir", folder)
    assert ran.code == 11
    assert "kiosk enrol" in one_line(ran)


def test_a_still_can_t_pay_in_production(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text(
        'mode = "production"\n[models]\naccept_without_leave = '
        '["mobilefacenet-int8-1", "kiosk-antispoof-int8-2"]\n'
    )
    ran = pay(kiosk, shop, "--config", tmp_path / "kiosk.toml")
    assert ran.code == 2
    assert "production" in one_line(ran)


def test_production_refuses_a_model_without_leave_to_sell(
    kiosk: Kiosk, shop: Running, tmp_path: Path
) -> None:
    (tmp_path / "kiosk.toml").write_text('mode = "production"\n')
    ran = pay(kiosk, shop, "--config", tmp_path / "kiosk.toml")
    assert ran.code == 2
    assert "kiosk-antispoof-int8-2" in one_line(ran)
