"""`kiosk sandbox`: an acquirer to try, test and integrate against, and a look into its books."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kiosk.cli import sandbox_people, sandbox_repository, sandbox_tls
from kiosk.cli.common import DataDir, Json, print_json, say
from kiosk.cli.processes import end_with_parent
from kiosk.domain.moments import moment

if TYPE_CHECKING:
    from kiosk.sandbox.ledger import Ledger

__all__ = ["app"]

app = typer.Typer(invoke_without_command=True)
app.command()(sandbox_tls.certify)
app.command()(sandbox_tls.revoke)
app.command()(sandbox_people.people)
app.add_typer(sandbox_repository.app, name="repository")


@app.callback()
def sandbox(
    context: typer.Context,
    data_dir: DataDir = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8443,
    mode: Annotated[str, typer.Option(help="test (takes demo, test, training) or production.")] = "test",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:CALLS]",
            help="Misbehave for the next calls: drop-answer, delay:SECONDS, bad-signature, alter-body, "
            "duplicate, decline, crash-after-commit. May be given again.",
        ),
    ] = None,
    decline: Annotated[
        list[str] | None, typer.Option(metavar="TOKEN", help="Decline this payer. May be given again.")
    ] = None,
    known_payers_only: Annotated[
        bool, typer.Option("--known-payers-only", help="Refuse payers that payers.json does not name.")
    ] = False,
    pin: Annotated[
        str, typer.Option(metavar="DIGITS", help="PIN of every payer that payers.json gives no other.")
    ] = "246810",
    hardware_keys_only: Annotated[
        bool, typer.Option("--hardware-keys-only", help="Refuse kiosks whose key is a file (class dev).")
    ] = False,
    tls: Annotated[
        bool, typer.Option("--tls", help="TLS 1.3, for kiosks with a certificate of this sandbox (certify).")
    ] = False,
    until_parent_ends: Annotated[bool, typer.Option("--until-parent-ends", hidden=True)] = False,
) -> None:
    """An acquirer in a box: real HTTP, real signatures, real books. Prints `sandbox ready URL`, then serves.

    State is in DATA_DIR/sandbox: acquirer.json and root.json (what a kiosk pins), terminals.json,
    payers.json, policy.json. What it publishes for kiosks is under /repo/ (kiosk sandbox repository --help).
    A kiosk with the same data folder is trusted and finds the sandbox by itself; with --tls and in demo or
    test it gets its certificate, too.

    Its policy allows 30 approvals per payer and hour (then: declined, velocity); policy.json sets other caps.
    Above 500.00 it wants a PIN: 246810 for everybody, unless --pin or payers.json say otherwise.

    Example: kiosk sandbox --data-dir /tmp/shop --fault drop-answer:2 --decline pyr-7f3k9q2m
    """
    if context.invoked_subcommand is not None:
        return
    if until_parent_ends:
        end_with_parent()
    from kiosk.domain.errors import OperatorError
    from kiosk.sandbox.authorise import MODES
    from kiosk.sandbox.sealed import PIN
    from kiosk.sandbox.server import home, serve

    if mode not in MODES:
        raise OperatorError(f"--mode {mode!r}", do=f"Use one of {', '.join(MODES)}.")
    if not PIN.fullmatch(pin):
        raise OperatorError("--pin is none", do="Give 4 to 12 digits.")
    if tls:
        home(_folder(data_dir))
        sandbox_tls.provide(_folder(data_dir))
    serve(
        _folder(data_dir),
        host=host,
        port=port,
        mode=mode,
        faults=fault or [],
        declined=frozenset(decline or ()),
        opening_minor=None if known_payers_only else 1_000_000,
        pin=pin,
        hardware_only=hardware_keys_only,
        tls=tls,
        ready=lambda address: say(f"sandbox ready {address}"),
    )


@app.command()
def trust(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The kiosk's device.pub, or what `kiosk keys csr` wrote.")
    ],
    replaces: Annotated[
        str, typer.Option(metavar="KEY_ID", help="It follows this key, which ends after the overlap.")
    ] = "",
    overlap_days: Annotated[
        float, typer.Option(min=0, max=90, help="How long both are believed.", show_default=True)
    ] = 7.0,
    data_dir: DataDir = None,
) -> None:
    """Register a kiosk's key with the sandbox, running or not.

    Example: kiosk sandbox trust kiosk.csr --replaces hw-0f3a... --data-dir /tmp/shop
    """
    from kiosk.sandbox.keys import Terminals
    from kiosk.sandbox.server import home

    folder = _folder(data_dir)
    terminals = Terminals(home(folder), folder)
    trusted = terminals.register(file, replaces=replaces, overlap_s=overlap_days * 86_400)
    say(f"trusted {trusted} in {terminals.file}")


@app.command()
def ledger(data_dir: DataDir = None, json: Json = False) -> None:
    """Print the books: every attempt, what became of it, what was taken from the payer, which terminal asked.

    Example: kiosk sandbox ledger --data-dir /tmp/shop --json
    """
    from kiosk.domain.money import Money
    from kiosk.sandbox.ledger import LedgerRow

    with _books(data_dir) as books:
        rows = books.rows()

    def plain(row: LedgerRow) -> dict[str, object]:
        attempt = row.attempt
        return {
            "at": row.at,
            "terminal": attempt.terminal,
            "ref": attempt.ref,
            "order_ref": attempt.order_ref,
            "token": attempt.token,
            "minor": attempt.amount.minor,
            "currency": attempt.amount.currency,
            "result": str(attempt.result),
            "code": attempt.code,
            "approval": attempt.approval,
            "rrn": attempt.rrn,
            "debited_minor": row.debited_minor,
            "offline": attempt.offline,
            "batch": attempt.batch,
            "refunds": [
                {
                    "number": refund.number,
                    "minor": refund.minor,
                    "result": str(refund.result),
                    "code": refund.code,
                    "approved_by": refund.approved_by,
                }
                for refund in row.refunds
            ],
        }

    if json:
        print_json({"rows": [plain(row) for row in rows]})
        return
    for row in rows:
        attempt = row.attempt
        columns = (
            f"{attempt.rrn or '-':12}",
            f"{attempt.result:8}",
            f"{attempt.amount!s:>14}",
            f"debited {row.debited_minor:>9}",
            f"{attempt.code:20}",
            f"{attempt.approval or '-':6}",
            attempt.token or "-",
            attempt.terminal,
            attempt.order_ref,
            attempt.ref,
        )
        say(" ".join(columns) + (" OFFLINE" if attempt.offline else ""))
        for refund in row.refunds:
            amount = Money(refund.minor, attempt.amount.currency)
            say(f"  refund {refund.number}: {amount} {refund.result} {refund.code} by {refund.approved_by}")
    debits = sum(row.debited_minor for row in rows)
    say(f"{len(rows)} attempts, {debits} minor units debited")


@app.command()
def disputes(data_dir: DataDir = None, json: Json = False) -> None:
    """Print the disputes, with the evidence that came with each.

    Example: kiosk sandbox disputes --data-dir /tmp/shop --json
    """
    with _books(data_dir) as books:
        found = books.disputes()
    if json:
        listed = [
            {"dispute_id": f"D-{number:06d}", "at": at, "terminal": terminal, "ref": ref, "reason": reason}
            | {"message": loads(body)}
            for number, at, terminal, ref, reason, body in found
        ]
        print_json({"disputes": listed})
        return
    for number, at, terminal, ref, reason, body in found:
        said = loads(body)
        say(
            f"D-{number:06d} {_when(at)} {reason:8} {said['amount']['currency']} {said['amount']['minor']} "
            f"order {said['order_ref']} ref {ref} {terminal}, {len(said['pack']['journal'])} journal entries"
        )
    say(f"{len(found)} disputes")


@app.command()
def unblock(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The payer.")], data_dir: DataDir = None
) -> None:
    """Let a payer try PINs again after three wrong ones.

    Example: kiosk sandbox unblock pyr-7f3k9q2m --data-dir /tmp/shop
    """
    with _books(data_dir) as books, books.transaction():
        wrong = books.wrong_pins(token)
        books.count_pin(token, right=True)
    say(f"{token}: {wrong} wrong PINs forgotten")


@app.command()
def terminals(data_dir: DataDir = None, json: Json = False) -> None:
    """Print what each terminal said last of its health.

    Example: kiosk sandbox terminals --data-dir /tmp/shop
    """
    with _books(data_dir) as books:
        heard = [(terminal, at, loads(body)) for terminal, at, body in books.heard()]
    if json:
        print_json({"terminals": [{"terminal": name, "at": at, "said": said} for name, at, said in heard]})
        return
    for name, at, said in heard:
        failed = [check for check, status in said["checks"].items() if status == "failed"]
        health = f"failed: {', '.join(failed)}" if failed else "well"
        say(f"{_when(at)} {name} {said['software']} policy {said['policy_version']} {health}")
    say(f"{len(heard)} terminals")


@contextmanager
def _books(data_dir: Path | None) -> Iterator[Ledger]:
    from kiosk.domain.errors import OperatorError
    from kiosk.sandbox.files import explained
    from kiosk.sandbox.ledger import Ledger

    path = _folder(data_dir) / "sandbox" / "ledger.sqlite"
    with explained(path):
        is_there = path.exists()
    if not is_there:
        raise OperatorError(
            "no ledger", where=str(path), do="Start `kiosk sandbox` with this --data-dir first."
        )
    with closing(Ledger(path)) as books:
        yield books


def _when(at: float) -> str:
    """On this machine's clock: the sandbox has no store."""
    return moment(at, None)


def _folder(data_dir: Path | None) -> Path:
    from kiosk.app.config import default_data_dir

    return data_dir or default_data_dir()
