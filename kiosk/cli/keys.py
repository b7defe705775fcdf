"""`kiosk keys`: the key that signs for this kiosk: made, enrolled, and followed by the next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kiosk.cli import keys_tls
from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.moments import rfc3339

if TYPE_CHECKING:
    from kiosk.app.wiring import Base
    from kiosk.devices.key_token import TokenRing
    from kiosk.domain.ports import KeyPort

__all__ = ["app"]

DAY_S = 86_400

app = typer.Typer(
    no_args_is_help=True,
    help="The key that signs for this kiosk. In a file (class dev) nothing has to be done; on a PKCS#11 "
    'token (key.store = "token") it is made, enrolled and, every 90 days, followed by another.\n\n'
    "First: kiosk keys make, kiosk keys csr --out kiosk.csr, give that to the acquirer, kiosk doctor. "
    "Every 90 days: kiosk keys rotate, give the acquirer what it wrote, kiosk keys rotate.",
)

app.add_typer(keys_tls.app, name="tls")


@app.command()
def show(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Print which keys there are, which one signs, how old each is, and until when.

    Example: kiosk keys show --json
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        found = _shown(base)
    if json:
        print_json(found)
        return
    for key in found["keys"]:
        until = f", until {key['until']}" if key["until"] else ""
        say(f"{key['role']:8} {key['id']}  {key['class']}, {key['age_days']} days old{until}")
    if not found["keys"]:
        say("no key yet: run `kiosk keys make`")


@app.command()
def make(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Make this kiosk's first key: P-256, on the token, not extractable. Refused when there is one.

    The token's PIN comes from key.pin_file (mode 0600) or the systemd credential token-pin.

    Example: kiosk keys make --config /etc/kiosk/kiosk.toml
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain, begins=True) as base:
        if base.ring is None:
            if (base.data_dir / "device.key").exists():
                raise OperatorError(
                    f"there is a key already: {base.key.key_id}", where=str(base.data_dir / "device.key")
                )
            key = base.key
        else:
            key = base.ring.make(time.time())
            _publish(base, key)
        base.note("key", did="made", id=key.key_id)
        if json:
            print_json({"id": key.key_id, "class": key.key_class})
        else:
            say(f"made {key.key_id} ({key.key_class}); next: kiosk keys csr, for the acquirer")


@app.command()
def csr(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Write the certification request (PKCS#10, PEM) that enrols the key with the acquirer.

    It is of the successor where one was made (see rotate), else of the key that signs. Signed by that key.

    Example: kiosk keys csr --out kiosk.csr
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain, begins=True) as base:
        key = _newest(base)
        pem = _request(base, key)
    if out is not None:
        _write(out, pem)
    if json:
        print_json({"id": key.key_id, "file": str(out) if out else None, "csr": pem.decode()})
    else:
        say(f"wrote {out} for {key.key_id}" if out else pem.decode().rstrip())


@app.command()
def rotate(
    now: Annotated[bool, typer.Option("--now", help="Also before the 83rd day.")] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Bring the next key, in two runs. A key lives 90 days; from the 83rd on its successor is due.

    The first run makes the successor and writes its certification request for the acquirer. The second asks
    the acquirer whether it takes the successor: then that one signs, and the old one stays for 7 days.
    A run after those destroys the old one. Nothing is interrupted: a running kiosk follows by itself.

    Exit code 0, also when nothing is due; 2 when the acquirer does not take the successor yet.

    Example: kiosk keys rotate --now
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        if base.ring is None:
            raise OperatorError(
                "a key in a file has no successor", where="key.store", do='Use key.store = "token".'
            )
        done = _rotated(base, base.ring, at_once=now)
        if done["state"] != "not_due":
            base.note("key", did=done["state"], id=done["id"])
        if done["destroyed"]:
            base.note("key", did="destroyed", id=done["destroyed"])
    if json:
        print_json(done)
        return
    if done["destroyed"]:
        say(f"destroyed {done['destroyed']}: its time is over")
    say(
        {
            "not_due": f"{done['id']} signs; next due in {done.get('due_in_days')} days (--now: today)",
            "prepared": f"made {done['id']}; give {done.get('file')} to the acquirer, then run this again",
            "active": f"{done['id']} signs from now on; the old key counts until {done.get('old_until')}",
        }[done["state"]]
    )


def _rotated(base: Base, ring: TokenRing, *, at_once: bool) -> dict[str, Any]:
    from kiosk.devices.key_token import DUE_S

    at = time.time()
    current = ring.current()
    destroyed = ring.retire(at)
    keys = ring.keys()
    if keys.next is None or not keys.next.key_id:
        due_s = current.entry.made_s + DUE_S - at
        if keys.next is None and due_s > 0 and not at_once:
            days = round(due_s / DAY_S, 1)
            return {"state": "not_due", "id": current.key_id, "due_in_days": days, "destroyed": destroyed}
        key = ring.prepare(at)
        file = base.data_dir / f"{key.key_id}.csr"
        _write(file, _request(base, key))
        return {"state": "prepared", "id": key.key_id, "file": str(file), "destroyed": destroyed}
    key = ring.key(keys.next)
    refusal = base.acquirer_takes(key)
    if refusal:
        raise OperatorError(
            f"the acquirer does not take {key.key_id} yet ({refusal})",
            where=base.trust.base_url,
            do=f"Give it {base.data_dir / f'{key.key_id}.csr'}; {current.key_id} goes on signing.",
        )
    changed = ring.activate(time.time())
    _publish(base, key)
    old_until = _until(base, changed.old.until_s) if changed.old else None
    return {
        "state": "active",
        "id": key.key_id,
        "old": current.key_id,
        "old_until": old_until,
        "destroyed": destroyed,
    }


def _shown(base: Base) -> dict[str, Any]:
    from dataclasses import asdict

    from kiosk.app.health import age_days
    from kiosk.devices.key_token import LIFETIME_S

    if base.ring is None:
        key = base.key
        only = {
            "role": "current",
            "id": key.key_id,
            "class": key.key_class,
            "age_days": age_days(base),
            "until": None,
        }
        return {"store": "file", "token": None, "keys": [only]}
    keys, now = base.ring.keys(), time.time()
    listed = []
    for role in ("current", "next", "old"):
        entry = getattr(keys, role)
        if entry is not None and entry.key_id:
            until_s = entry.until_s or entry.made_s + LIFETIME_S
            listed.append(
                {
                    "role": role,
                    "id": entry.key_id,
                    "class": "hardware",
                    "age_days": int((now - entry.made_s) // DAY_S),
                    "until": _until(base, until_s),
                }
            )
    return {"store": "token", "token": asdict(base.ring.token.info()), "keys": listed}


def _newest(base: Base) -> KeyPort:
    if base.ring is None:
        return base.key
    successor = base.ring.keys().next
    return base.ring.key(successor) if successor and successor.key_id else base.ring.current()


def _request(base: Base, key: KeyPort) -> bytes:
    from kiosk.devices.csr import certification_request

    store = base.config.store
    return certification_request(key, merchant_id=store.merchant_id, terminal_id=store.terminal_id)


def _publish(base: Base, key: KeyPort) -> None:
    """`device.pub`, for whoever registers this kiosk by its public key; a key in a file writes its own."""
    from cryptography.hazmat.primitives import serialization

    public = serialization.load_der_public_key(key.public_key_der())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    _write(base.data_dir / "device.pub", public.public_bytes(serialization.Encoding.PEM, form))


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OperatorError(
            f"cannot be written ({error.strerror})", where=str(path), do="Use a folder that you may write to."
        ) from None


def _until(base: Base, at_s: float) -> str:
    return rfc3339(at_s, ZoneInfo(base.config.store.timezone))
