"""`kiosk limits`, and the licence as the doctor sees it, with a sandbox that signs the policy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..sandbox.conftest import Running, running
from .conftest import DEMO, PAYER, Kiosk

PROBE = DEMO / "probe" / f"{PAYER}.jpg"
NOBODY = DEMO / "probe" / "stranger.jpg"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("store")
    (folder / "sandbox").mkdir()
    terms = {
        "law_note": "Two factors (Act 7).",
        "two_factors_above": 30_000,
        "ceiling": {"per_payment": 100_000, "per_person_hour_count": 30},
    }
    (folder / "sandbox" / "policy.json").write_text(json.dumps(terms))
    with running(folder) as sandbox:
        yield sandbox


@pytest.fixture
def folder(store: Running, tmp_path: Path, kiosk: Kiosk) -> Path:
    """A kiosk's own folder that holds the policy already, and needs the sandbox no more."""
    data = tmp_path / "kiosk"
    shutil.copytree(store.folder, data, ignore=shutil.ignore_patterns("ledger*", "*.key"))
    shutil.copy(store.folder / "device.key", data)
    found = doctor(kiosk, data)
    assert found["policy"]["status"] == "green", found["policy"]
    return data


def doctor(kiosk: Kiosk, folder: Path) -> dict[str, dict[str, str]]:
    ran = kiosk("doctor", "--json", "--camera", NOBODY, "--data-dir", folder)
    return {check["name"]: check for check in json.loads(ran.out)["checks"]}


def shown(kiosk: Kiosk, folder: Path, *more: str) -> dict[str, dict[str, object]]:
    said = json.loads(kiosk("limits", "show", "--json", *more, "--data-dir", folder).out)
    return {row["kind"]: row for row in said["limits"]} | {"law": said}


def test_what_is_set_is_in_force_and_in_the_trail(kiosk: Kiosk, folder: Path) -> None:
    ran = kiosk("limits", "set", "per-payment", "200.00", "--staff", "1007", "--data-dir", folder)
    assert (ran.code, ran.out) == (0, "per_payment: ¥ 200.00; in force: ¥ 200.00\n")
    kiosk("limits", "set", "per_kiosk_day_count", "9", "--data-dir", folder)
    rows = shown(kiosk, folder)
    assert rows["per_payment"] == {
        "kind": "per_payment",
        "acquirer": 100_000,
        "merchant": 20_000,
        "in_force": 20_000,
        "spent": None,
    }
    assert (rows["per_kiosk_day_count"]["in_force"], rows["per_kiosk_day_count"]["spent"]) == (9, 0)
    assert rows["pin_above"]["acquirer"] == 30_000  # the law's
    ran = kiosk("limits", "set", "per_payment", "none", "--json", "--data-dir", folder)
    assert json.loads(ran.out) == {"kind": "per_payment", "merchant": None, "in_force": 100_000}
    log = json.loads(kiosk("limits", "log", "--json", "--data-dir", folder).out)["changes"]
    assert [(change["staff"], change["before"], change["after"]) for change in log] == [
        ("1007", None, 20_000),
        ("", None, 9),
        ("", 20_000, None),
    ]
    told = kiosk("limits", "log", "--data-dir", folder).out
    assert "per_payment: none -> ¥ 200.00, staff 1007\n" in told
    assert told.endswith("per_payment: ¥ 200.00 -> none, staff not named\n3 changes\n")


def test_where_there_is_staff_a_manager_approves(kiosk: Kiosk, folder: Path, tmp_path: Path) -> None:
    pins = {}
    for number, digits in ((1, "90817263"), (2, "71829304")):
        pins[number] = tmp_path / f"pin-{number}"
        pins[number].write_text(digits)
    first = ("--role", "manager", "--pin-file", pins[1], "--data-dir", folder)
    assert kiosk("staff", "add", "1", *first).code == 0
    change = ("limits", "set", "per_payment", "150.00", "--data-dir", folder)
    assert kiosk(*change).code == 2
    assert kiosk(*change, "--staff", "4242", "--pin-file", pins[1]).code == 2
    assert kiosk(*change, "--staff", "1", "--pin-file", pins[2]).code == 2
    assert shown(kiosk, folder)["per_payment"]["merchant"] is None
    assert kiosk(*change, "--staff", "1", "--pin-file", pins[1]).code == 0
    assert shown(kiosk, folder)["per_payment"]["merchant"] == 15_000


def test_the_table_is_for_people(kiosk: Kiosk, folder: Path) -> None:
    told = kiosk("limits", "show", "--data-dir", folder).out
    assert told.splitlines()[0].split() == ["kind", "acquirer", "merchant", "in", "force", "spent"]
    assert "per_payment            ¥ 1,000.00" in told
    assert "the law of the place asks for two factors (face and PIN) above ¥ 300.00" in told
    assert "Two factors (Act 7)." in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["per_payment", "1000.01"], "above the acquirer's ceiling, ¥ 1,000.00"),
        (["per_person_hour_count", "31"], "above the acquirer's ceiling, 30"),
        (["per_moon", "1"], "no limit 'per_moon'"),
        (["per_payment", "a lot"], "per_payment"),
        (["per_person_day_count", "1.5"], "number of payments"),
        (["per_payment", "1", "--staff", "me"], "--staff"),
    ],
)
def test_what_can_t_be_set_is_one_line(kiosk: Kiosk, folder: Path, arguments: list[str], told: str) -> None:
    ran = kiosk("limits", "set", *arguments, "--data-dir", folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert told in ran.err
    assert not (folder / "limits.json").exists()


def test_a_payer_s_own_limits_and_what_they_spent(kiosk: Kiosk, folder: Path) -> None:
    ran = kiosk(
        *("enrol", "--camera", DEMO / "enrol" / PAYER, "--payer", PAYER),
        *("--limit-per-day", "20.00", "--data-dir", folder),
    )
    assert ran.code == 0, ran.err
    day = shown(kiosk, folder, "--payer", PAYER)["per_person_day"]
    assert (day["acquirer"], day["payer"], day["in_force"], day["spent"]) == (None, 2_000, 2_000, 0)
    ran = kiosk("pay", "--camera", PROBE, "--amount", "20.01", "--data-dir", folder)
    assert ran.code == 16
    assert "one person in one day" in ran.err
    unknown = kiosk("limits", "show", "--payer", "nobody", "--data-dir", folder)
    assert (unknown.code, "nobody is enrolled" in unknown.err) == (2, True)


def test_what_is_spent_is_told_beside_a_running_kiosk_too(kiosk: Kiosk, folder: Path) -> None:
    from kiosk.acquirer.journal import Journal

    with Journal(folder / "journal.sqlite"):
        assert shown(kiosk, folder)["per_kiosk_day"]["spent"] == 0


# --- the licence ----------------------------------------------------------------------------------------


def test_the_doctor_names_licence_provider_root_and_end(kiosk: Kiosk, folder: Path) -> None:
    found = doctor(kiosk, folder)["licence"]
    assert found["status"] == "green"
    assert "SANDBOX-0000 (sandbox) of Sandbox Acquirer, by scheme-" in found["detail"]


def test_without_the_scheme_s_root_nobody_is_licensed_and_nobody_pays(kiosk: Kiosk, folder: Path) -> None:
    (folder / "sandbox" / "scheme.json").unlink()
    found = doctor(kiosk, folder)
    assert (found["licence"]["status"], found["policy"]["status"]) == ("red", "red")
    assert "scheme.json" in found["licence"]["action"]
    told = kiosk("limits", "show", "--data-dir", folder)
    assert "nobody pays by face" in told.out
    assert "the stored policy is not used" in told.err


def test_a_root_named_in_the_configuration_is_the_one(kiosk: Kiosk, folder: Path) -> None:
    (folder / "sandbox" / "scheme.json").rename(folder / "roots.json")
    (folder / "kiosk.toml").write_text(f'[acquirer]\nscheme_file = "{folder}/roots.json"\n')
    assert doctor(kiosk, folder)["licence"]["status"] == "green"
    (folder / "roots.json").unlink()
    found = doctor(kiosk, folder)["licence"]
    assert (found["status"], "cannot be read" not in found["detail"]) == ("red", False)


def test_production_believes_no_sandbox_though_its_root_is_pinned(kiosk: Kiosk, folder: Path) -> None:
    (folder / "kiosk.toml").write_text('mode = "production"\n')
    shutil.copy(folder / "sandbox" / "scheme.json", folder)
    trust = json.loads((folder / "sandbox" / "acquirer.json").read_text())
    trust |= {"base_url": "https://127.0.0.1:1", "tls": {"pins": [f"sha256/{c * 42}A=" for c in "AB"]}}
    (folder / "acquirer.json").write_text(json.dumps(trust))
    found = doctor(kiosk, folder)["licence"]
    assert (found["status"], "not for production" in found["detail"]) == ("red", True), found
    (folder / "scheme.json").unlink()
    assert "no scheme's root is known" in doctor(kiosk, folder)["licence"]["detail"]
