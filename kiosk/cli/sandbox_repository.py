"""`kiosk sandbox repository`: what the sandbox publishes for kiosks, and the keys that it is believed by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kiosk.cli.common import DataDir, Json, print_json, say

if TYPE_CHECKING:
    from kiosk.sandbox.publisher import Published, Publisher

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="What the sandbox publishes for kiosks (gallery, deletions, texts, networks), and its keys.",
)

ModelFiles = Annotated[
    bool | None,
    typer.Option(
        "--model-files/--no-model-files",
        help="Publish the networks' files beside their cards, or no longer. Default: as before; first: no.",
        show_default=False,
    ),
]


@app.command()
def init(
    region: Annotated[str, typer.Option(metavar="NAME", help="Whose gallery it is.")] = "sandbox",
    model_files: ModelFiles = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Make keys and a repository, and publish; one that is there is left as it is.

    A running sandbox has done it already. Kiosks pin DATA_DIR/sandbox/root.json.

    Example: kiosk sandbox repository init --region north --data-dir /tmp/shop
    """
    with _publisher(data_dir, begins=True) as publisher:
        is_new = publisher.create(region)
        publisher.publish(model_files=model_files)
        _tell(publisher, json, "made" if is_new else "already there")


@app.command()
def publish(model_files: ModelFiles = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Publish what changed: people, withdrawals, consent texts, networks.

    A running sandbox does it by itself: people at once, texts and networks when it starts. Texts in
    DATA_DIR/sandbox/consent/VERSION/LANGUAGE.json go out beside those that ship, or in their place.

    Example: kiosk sandbox repository publish --model-files --data-dir /tmp/shop
    """
    with _publisher(data_dir) as publisher:
        changed = publisher.publish(model_files=model_files)
        _tell(publisher, json, "published" if changed else "nothing to publish")


@app.command()
def rotate_root(
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A role (root, timestamp, snapshot, targets, gallery, tombstones, models, texts), or one "
            "key as `status` names it, such as root-1a2b3c4d. May be given again. Default: root, all three.",
            show_default=False,
        ),
    ] = None,
    root_keys: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the root's keys are, when not in DATA_DIR/sandbox/root-keys.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Give roles new keys, after a leak or a loss, by a new root that kiosks reach from the one they pinned.

    Two of the root's three keys are needed. The old keys are deleted, and believed no more.

    Example: kiosk sandbox repository rotate-root --replace timestamp --data-dir /tmp/shop
    """
    with _publisher(data_dir) as publisher:
        made = publisher.rotate(replace or ["root"], root_keys or [])
        version = publisher.repository.state().root.signed.version
    if json:
        print_json({"root_version": version, "new_keys": made})
        return
    say(f"root version {version}; new keys: {', '.join(made)}")


@app.command()
def renew_epoch(data_dir: DataDir = None, json: Json = False) -> None:
    """Turn and seal the whole gallery by new secrets, after a kiosk was lost or a secret leaked.

    Kiosks ask for the new secret with their next sync. First take the lost kiosk's keys away.

    Example: kiosk sandbox repository renew-epoch --data-dir /tmp/shop
    """
    with _publisher(data_dir) as publisher:
        epoch = publisher.renew_epoch()
        _tell(publisher, json, f"epoch {epoch.number} ({epoch.id})")


@app.command()
def status(data_dir: DataDir = None, json: Json = False) -> None:
    """Say what is out, who signed it until when, and which keys are believed.

    Example: kiosk sandbox repository status --data-dir /tmp/shop --json
    """
    with _publisher(data_dir) as publisher:
        found, roles = publisher.published(), publisher.repository.roles()
    if json:
        listed = [
            {
                "role": role.name,
                "version": role.version,
                "expires": role.expires.isoformat(),
                "keys": list(role.keys),
            }
            for role in roles
        ]
        print_json(_plain(found) | {"roles": listed})
        return
    _say(found)
    for role in roles:
        until = role.expires.isoformat(" ", "minutes")
        say(f"{role.name:10} version {role.version:<5} until {until}  {', '.join(role.keys)}")


@contextmanager
def _publisher(data_dir: Path | None, *, begins: bool = False) -> Iterator[Publisher]:
    """`begins`: the folder may be new; else a mistyped one is said, and not made."""
    from kiosk.app.config import default_data_dir
    from kiosk.app.workers import SystemClock
    from kiosk.domain.errors import OperatorError
    from kiosk.sandbox.files import explained
    from kiosk.sandbox.ledger import Ledger
    from kiosk.sandbox.publisher import Publisher
    from kiosk.sandbox.server import home

    folder = (data_dir or default_data_dir()) / "sandbox"
    with explained(folder):
        is_there = folder.is_dir()
    if begins:
        home(folder.parent)
    elif not is_there:
        raise OperatorError(
            "nothing is published here", where=str(folder), do="Run `kiosk sandbox repository init`."
        )
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        yield Publisher(folder, ledger, SystemClock())


def _tell(publisher: Publisher, json: bool, what: str) -> None:
    found = publisher.published()
    if json:
        print_json({"result": what} | _plain(found))
        return
    say(what)
    _say(found)


def _plain(found: Published) -> dict[str, object]:
    return {
        "region": found.region,
        "epoch": {"number": found.epoch, "id": found.epoch_id},
        "people": found.people,
        "references": found.references,
        "segments": found.segments,
        "waiting": found.waiting,
        "tombstones": {"version": found.tombstones_version, "tokens": found.tombstones},
        "texts": found.texts,
        "models": found.models,
    }


def _say(found: Published) -> None:
    say(
        f"region {found.region}, epoch {found.epoch} ({found.epoch_id}): {found.people} people, "
        f"{found.references} references, {found.segments} segments; {found.waiting} people wait"
    )
    say(
        f"{found.tombstones} deletions (version {found.tombstones_version}), {found.texts} consent texts, "
        f"{found.models} files about networks"
    )
