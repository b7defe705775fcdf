"""`kiosk audit`: who did what on this kiosk, and proof that no line of it is gone."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.moments import written

if TYPE_CHECKING:
    from kiosk.app.audit import AuditEntry, Trail

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="The audit trail: who enrolled, forgot, synced, refunded, changed limits, staff, keys and models. "
    "Chained by hashes; no face, no name, no PIN is in it, and a payer is a mark.",
)

Since = Annotated[
    str, typer.Option("--since", metavar="YYYY-MM-DD", help="From this day on, in the store's time zone.")
]
Until = Annotated[str, typer.Option("--until", metavar="YYYY-MM-DD", help="Up to and with this day.")]


@app.command()
def verify(
    head: Annotated[
        str,
        typer.Option("--head", metavar="HASH", help="A hash of an earlier run: is it still in the trail?"),
    ] = "",
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="An exported trail, on any machine.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Follow the chain from the first line to the last, and hold its end against this kiosk's own mark.

    Note the hash that it prints somewhere else: with --head a later run tells whether the trail was put back
    to an older state or begun anew. Exit code 0 whole, 2 changed, cut or unreadable (one line says where).

    Example: kiosk audit verify --head 9b1d4f0a... (64 digits)
    """
    if head and not re.fullmatch(r"[0-9a-f]{64}", head):
        raise OperatorError(f"--head {head[:80]!r}", do="Give the 64 hex digits that an earlier run printed.")
    if file is not None:
        trail = _exported(file)
    else:
        from kiosk.app.wiring import open_base

        with open_base(data_dir, config, complain) as base:
            trail = base.audit.trail()
    if head and not trail.holds(head):
        raise OperatorError(
            f"no line has the hash {head}",
            where=str(file or "audit.jsonl"),
            do="The trail is not the one of that run: it was put back, begun anew or changed.",
        )
    if json:
        print_json({"ok": True, "lines": len(trail.hashes), "head": trail.head, "held": head or None})
    else:
        say(f"{len(trail.hashes)} lines, each follows the one before; the last hash is {trail.head}")


@app.command()
def show(
    what: Annotated[str, typer.Option("--what", help="Only this kind, such as enrol or refund.")] = "",
    payer: Annotated[
        str, typer.Option("--payer", metavar="TOKEN", help="Only what was done about this payer.")
    ] = "",
    since: Since = "",
    until: Until = "",
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Print the trail, oldest first; one that was changed is refused (exit code 2).

    Example: kiosk audit show --what enrol --since 2026-11-01
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        zone = ZoneInfo(base.config.store.timezone)
        first, last = _day("--since", since), _day("--until", until)
        mark = base.audit.payer_mark(payer) if payer else ""
        entries = [
            entry
            for entry in base.audit.entries()
            if (not what or entry.what == what)
            and (not mark or entry.values.get("payer") == mark)
            and (first is None or entry.at >= datetime.combine(first, time.min, zone))
            and (last is None or entry.at <= datetime.combine(last, time.max, zone))
        ]
    if json:
        print_json({"entries": [_as_json(entry) for entry in entries]})
        return
    for entry in entries:
        say(_line(entry, zone))
    say(f"{len(entries)} lines")


@app.command()
def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write it (JSON, a line each).")
    ],
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Write the trail as it is, verified first, for whoever audits this kiosk.

    `kiosk audit verify --file FILE` follows its chain on any machine; --head there ties it to a hash that was
    noted earlier.

    Example: kiosk audit export --out trail.jsonl
    """
    from kiosk.app.audit import verified
    from kiosk.app.wiring import open_base
    from kiosk.files import write_whole

    with open_base(data_dir, config, complain) as base:
        exported = base.audit.exported()
    trail = verified(exported, str(out))
    try:
        write_whole(out, exported)
    except OSError as error:
        raise OperatorError(
            f"cannot be written ({error.strerror})", where=str(out), do="Check --out."
        ) from None
    if json:
        print_json({"out": str(out), "lines": len(trail.hashes), "head": trail.head})
    else:
        say(f"wrote {len(trail.hashes)} lines to {out}; the last hash is {trail.head}")


def _exported(file: Path) -> Trail:
    from kiosk.app.audit import verified

    try:
        exported = file.read_bytes()
    except OSError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})", where=str(file), do="Check --file."
        ) from None
    return verified(exported, str(file))


def _day(option: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise OperatorError(f"{option} {text[:40]!r}", do="Give a day such as 2026-11-25.") from None


def _as_json(entry: AuditEntry) -> dict[str, Any]:
    return {"at": entry.at.isoformat(), "what": entry.what, "staff": entry.staff, **entry.values}


def _line(entry: AuditEntry, zone: ZoneInfo) -> str:
    told = " ".join(f"{name} {value}" for name, value in entry.values.items() if value not in (None, ""))
    who = f"staff {entry.staff}" if entry.staff else "kiosk"
    return f"{written(entry.at.astimezone(zone))}  {who:<10}  {entry.what:<13}  {told}".rstrip()
