"""`kiosk gallery`: the enrolled people as a whole: in step with the acquirer's, unharmed, told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say

if TYPE_CHECKING:
    from kiosk.acquirer.operations import Envelope
    from kiosk.app.wiring import Base
    from kiosk.gallery.change import Status
    from kiosk.gallery.neighbours import Pair

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Who is enrolled, as a whole: bring it in step with the acquirer's, see how old it is, check every "
    "file, look for people who are too alike.",
)
SHOWN_PAIRS: Final = 20


@app.command()
def sync(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Bring the gallery in step with the acquirer's now: deletions first, then the segments that are lacking.

    A running kiosk does so by itself every gallery.poll_s seconds; this also works beside it. What is served
    and not believed (older, expired, mixed, signed by another key, endless, too slow) is refused in one line
    with exit code 2, and the gallery stays as it was.

    Example: kiosk gallery sync
    """
    from kiosk.app.gallery_sync import note, open_follower
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain, begins=True) as base:
        store = base.enrolled.store
        store.tidy()
        store.verify()  # what is harmed is fetched again
        follower = open_follower(base, lambda: _envelope(base))
        with _progress(json) as follower.on_progress:
            done = follower.round()
        if done.deleted or done.fetched:
            note(base, done)
        status = store.status()
    if json:
        print_json(
            {
                "deleted": len(done.deleted),
                "segments_fetched": done.fetched,
                "bytes": done.received,
                "changed": done.gallery is not None,
                **(_as_json(status) if status else {}),
            }
        )
        return
    if done.deleted:
        say(f"{len(done.deleted)} people withdrew and are gone")
    if done.fetched:
        say(f"{done.fetched} segments came ({done.received / 1e6:.1f} MB)")
    say(f"in step with the acquirer's: {_told(status)}")


@app.command()
def status(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """How many people, from where, of which epoch, and when it was last known to be the newest.

    Exit code 10 when it was not for longer than gallery.time_to_live_h: nobody pays by face then.

    Example: kiosk gallery status
    """
    from kiosk.app.gallery_sync import pinned_root
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        found, stale = base.enrolled.store.status(), base.freshness.is_stale()
        pinned, zone = pinned_root(base) is not None, ZoneInfo(base.config.store.timezone)
    if json:
        print_json({"pinned": pinned, "stale": stale, **(_as_json(found) if found else {"people": 0})})
    else:
        say(_told(found))
        if found:
            say(
                f"epoch {found.epoch.id} ({found.epoch.region} {found.epoch.number}), version {found.version}"
            )
            say(f"{len(found.neighbours)} people always give a second factor: they resemble another")
        fresh = found.fresh_at_s if found else None
        if fresh is None:
            say("never synced" if pinned else "no repository is pinned here: nothing is synced")
        else:
            when = datetime.fromtimestamp(fresh, zone).strftime("%Y-%m-%d %H:%M")
            say(
                f"in step with the acquirer's at {when}" + ("; TOO OLD: nobody pays by face" if stale else "")
            )
    if stale:
        raise typer.Exit(Exit.DECLINED)


@app.command()
def verify(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Open every file of the gallery: one line for each that can't be believed, and exit code 10.

    An older gallery that was put back, and one without its mark, are refused (exit code 2).

    Example: kiosk gallery verify
    """
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        damaged, found = base.enrolled.store.verify(), base.enrolled.store.status()
    if json:
        print_json({"ok": not damaged, "damaged": list(damaged), **(_as_json(found) if found else {})})
    else:
        for line in damaged:
            say(f"DAMAGED  {line}")
        if not damaged:
            say(f"every file is whole: {_told(found)}")
    if damaged:
        raise typer.Exit(Exit.DECLINED)


@app.command()
def audit(
    every: Annotated[bool, typer.Option("--all", help="Print every pair, not the nearest 20.")] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Compare everybody with everybody: who resembles another so much that the face alone must not pay.

    They are marked and always give a second factor (docs/gallery.md). Tokens are printed, no names. 100,000
    people take about a minute.

    Example: kiosk gallery audit
    """
    from kiosk.app.wiring import open_base
    from kiosk.gallery.neighbours import close_pairs, closeness, tokens_of

    with open_base(data_dir, config, complain) as base:
        gallery = base.gallery
        at = closeness(base.setting(None).thresholds, max(gallery.size, 1))
        with _progress(json) as progress:
            pairs = close_pairs(gallery.records(), at, progress=progress)
        marked = tokens_of(pairs)
        if marked != gallery.neighbours:
            base.enrolled.store.note(neighbours=marked, compared=gallery.version)
    if json:
        print_json(
            {
                "people": gallery.size,
                "cosine_from": at,
                "marked": len(marked),
                "pairs": [{"first": one.first, "second": one.second, "cosine": one.score} for one in pairs],
            }
        )
        return
    for one in pairs if every else pairs[:SHOWN_PAIRS]:
        say(_pair(one))
    if not every and len(pairs) > SHOWN_PAIRS:
        say(f"and {len(pairs) - SHOWN_PAIRS} more (--all)")
    say(f"{len(marked)} of {gallery.size} people are marked, at a cosine of {at:.3f} or more")


def _pair(one: Pair) -> str:
    return f"{one.score:.3f}  {one.first}  {one.second}"


def _envelope(base: Base) -> Envelope:
    """Where this kiosk's next request stands. OperatorError: a running kiosk has the journal."""
    from kiosk.app.asking import envelope

    with base.journal() as journal:
        return envelope(journal, base.clock, ZoneInfo(base.config.store.timezone))


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr where that is a terminal; none for whoever parses stdout."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, of: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("gallery", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _told(found: Status | None) -> str:
    from kiosk.gallery.change import Source

    if found is None or not found.people:
        return "nobody is enrolled"
    own = sum(segment.people for segment in found.of(Source.OWN))
    return f"{found.people} people ({own} enrolled here), {found.references} references"


def _as_json(found: Status) -> dict[str, Any]:
    from kiosk.gallery.change import Source

    own, published = found.of(Source.OWN), found.of(Source.ACQUIRER)
    fresh = found.fresh_at_s
    return {
        "people": found.people,
        "references": found.references,
        "own": sum(segment.people for segment in own),
        "acquirer": sum(segment.people for segment in published),
        "segments": len(published),
        "version": found.version,
        "region": found.epoch.region,
        "epoch": found.epoch.number,
        "epoch_id": found.epoch.id,
        "tombstones_version": found.tombstones_version,
        "neighbours": len(found.neighbours),
        "fresh_at": None
        if fresh is None
        else datetime.fromtimestamp(fresh, UTC).isoformat(timespec="seconds"),
    }
