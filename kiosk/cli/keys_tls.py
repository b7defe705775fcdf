"""`kiosk keys tls`: the key and the certificate of this kiosk's line to the acquirer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.moments import rfc3339, written

if TYPE_CHECKING:
    from kiosk.devices.tls_key import Installed

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="The certificate for mutual TLS with the acquirer. Its key is a sealed file; what is said over "
    "the line is signed by the other key (see kiosk keys).\n\n"
    "First: kiosk keys tls make, kiosk keys tls csr --out kiosk-tls.csr, give that to the acquirer, "
    "kiosk keys tls install ITS-ANSWER.crt, kiosk doctor. To renew: csr and install again, or make before "
    "them for a new key. Nothing is interrupted: a running kiosk follows by itself.",
)


@app.command()
def make(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Make a TLS key. It waits for its certificate; the one in force, if any, stays in force until then.

    Example: kiosk keys tls make
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain, begins=True) as base:
        key_id = base.tls_key.make()
    if json:
        print_json({"id": key_id})
    else:
        say(f"made {key_id}; next: kiosk keys tls csr --out FILE, for the acquirer")


@app.command()
def csr(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Write the certification request (PKCS#10, PEM) of the newest TLS key: for its first certificate, or the
    next.

    Example: kiosk keys tls csr --out kiosk-tls.csr
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain, begins=True) as base:
        store = base.config.store
        key_id, pem = base.tls_key.request(merchant_id=store.merchant_id, terminal_id=store.terminal_id)
    if out is not None:
        try:
            out.write_bytes(pem)
        except OSError as error:
            raise OperatorError(
                f"cannot be written ({error.strerror})", where=str(out), do="Use a folder of your own."
            ) from None
    if json:
        print_json({"id": key_id, "file": str(out) if out else None, "csr": pem.decode()})
    else:
        say(f"wrote {out} for {key_id}" if out else pem.decode().rstrip())


@app.command()
def install(
    certificate: Annotated[
        Path, typer.Argument(metavar="FILE", help="The certificate (PEM) that the acquirer gave.")
    ],
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Take a certificate into force. Refused when it is of another key or for another terminal.

    Example: kiosk keys tls install kiosk-tls.crt
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        found = base.tls_key.install(certificate, terminal_id=base.config.store.terminal_id)
        base.note("key", did="certificate", serial=found.serial)
        zone = ZoneInfo(base.config.store.timezone)
    _print(found, zone, json=json)


@app.command()
def show(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Print the certificate in force: for which terminal, by whom, its serial, and until when.

    Example: kiosk keys tls show --json
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        found, zone = base.tls_key.installed(), ZoneInfo(base.config.store.timezone)
    if found is not None:
        _print(found, zone, json=json)
    elif json:
        print_json({"installed": False})
    else:
        say("no certificate: run `kiosk keys tls make`, then csr and install")


def _print(found: Installed, zone: ZoneInfo, *, json: bool) -> None:
    days = round((found.until.timestamp() - time.time()) / 86_400, 1)
    shown: dict[str, Any] = {
        "installed": True,
        "subject": found.subject,
        "terminal": found.terminal,
        "issuer": found.issuer,
        "serial": found.serial,
        "since": rfc3339(found.since.timestamp(), zone),
        "until": rfc3339(found.until.timestamp(), zone),
        "days_left": days,
    }
    if json:
        print_json(shown)
        return
    say(f"certificate {found.serial} for terminal {found.terminal} by {found.issuer}")
    say(
        f"valid until {written(found.until.astimezone(zone))}"
        + (f", {days} days" if days > 0 else ": its time is over")
    )
