"""`kiosk sandbox certify | revoke`, and the certificate of a kiosk that shares the sandbox's folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from kiosk.cli.common import DataDir, say

__all__ = ["certify", "provide", "revoke"]


def certify(
    request: Annotated[Path, typer.Argument(metavar="CSR", help="What `kiosk keys tls csr` wrote.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the certificate there instead of printing it.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Issue the TLS certificate that a kiosk asks for, for 30 days; the kiosk runs `kiosk keys tls install`.

    Example: kiosk sandbox certify kiosk-tls.csr --out kiosk-tls.crt --data-dir /tmp/shop
    """
    from kiosk.app.config import default_data_dir
    from kiosk.sandbox.ca import Authority
    from kiosk.sandbox.files import explained, write
    from kiosk.sandbox.server import home

    with explained(request):
        asked = request.read_bytes()
    certificate = Authority(home(data_dir or default_data_dir())).certify(asked)
    if out is None:
        say(certificate.decode().rstrip())
    else:
        write(out, certificate)
        say(f"wrote {out}")


def revoke(
    serial: Annotated[str, typer.Argument(metavar="SERIAL", help="As `kiosk keys tls show` prints it.")],
    data_dir: DataDir = None,
) -> None:
    """Take back a kiosk's TLS certificate: its calls are refused from now on, by a running sandbox too.

    Example: kiosk sandbox revoke 3f0c9a --data-dir /tmp/shop
    """
    from kiosk.app.config import default_data_dir
    from kiosk.sandbox.ca import Authority
    from kiosk.sandbox.server import home

    Authority(home(data_dir or default_data_dir())).revoke(serial)
    say(f"revoked {serial}")


def provide(data_dir: Path) -> None:
    """Certify the kiosk of `data_dir` anew, when it is a demo's or a test's that talks to the sandbox there.

    Raises:
        OperatorError: its key can't be used.
    """
    from kiosk.app.config import load
    from kiosk.devices.key_software import SoftwareKey
    from kiosk.devices.tls_key import TlsKey
    from kiosk.sandbox.ca import Authority
    from kiosk.sandbox.server import home

    config = load(None, data_dir)
    if config.mode not in ("demo", "test") or (data_dir / "acquirer.json").exists():
        return
    if config.key.store == "file":
        key = TlsKey.of(data_dir, SoftwareKey.load_or_create(data_dir / "device.key"))
    else:
        from kiosk.app.wiring import Base  # brings the cameras' libraries: only where it must be

        key = Base(data_dir, config).tls_key
    if not key.file.exists() and not key.waiting.exists():
        key.make()
    store = config.store
    _, request = key.request(merchant_id=store.merchant_id, terminal_id=store.terminal_id)
    with tempfile.TemporaryDirectory() as name:
        answer = Path(name) / "answer.crt"
        answer.write_bytes(Authority(home(data_dir)).certify(request))
        key.install(answer, terminal_id=store.terminal_id)
