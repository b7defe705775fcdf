"""`kiosk models`: which networks run here, under which terms, and how an integrator brings others.

An added network lies in the data folder, takes the release's place for its role from the next start on, and
is named by its hash in every payment's evidence. `kiosk models rollback` takes it back.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiosk.cli.common import DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError

if TYPE_CHECKING:
    from kiosk.vision.models import Manifest, ModelCard

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="The networks: what runs here, under which terms; bring your own (docs/models.md).",
)

Assets = Annotated[
    bool,
    typer.Option("--assets", help="Change the release's own folder instead: for who builds a release."),
]


@app.command("list")
def list_models(data_dir: DataDir = None, json: Json = False) -> None:
    """Every network that runs here: role, id, where it comes from, and whether it may be sold with.

    Example: kiosk models list --json
    """
    manifest = _manifest(data_dir)
    if json:
        print_json({"models": [_summary(manifest, card) for card in manifest.models]})
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from kiosk.vision.models import uncleared

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("role", "id", "from", "licence", "for sale", "kB"):
        only_words_bend = column != "licence"
        table.add_column(column, justify="right" if column == "kB" else "left", no_wrap=only_words_bend)
    for card in manifest.models:
        origin = "added" if card.id in manifest.added else "release"
        words = (card.role, card.id, origin, card.licence, card.commercial, f"{card.bytes / 1000:.0f}")
        table.add_row(*map(escape, words))
    Console().print(table)
    refused = [card.id for card in uncleared(manifest)]
    if refused:
        say(f"production refuses {', '.join(refused)} until models.accept_without_leave names each")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ROLE|ID", help="A role such as liveness, or a model's id.")],
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """One network's whole card: source, terms, inputs, outputs, thresholds and the commands that set them.

    Example: kiosk models show liveness --json
    """
    import msgspec

    manifest = _manifest(data_dir)
    card = next((card for card in manifest.models if name in (card.role, card.id)), None)
    if card is None:
        known = ", ".join(f"{card.role} ({card.id})" for card in manifest.models)
        raise OperatorError(f"no model {name[:80]!r}", do=f"There are: {known}.")
    if json:
        print_json(msgspec.to_builtins(card))
        return
    for key, value in msgspec.to_builtins(card).items():
        for line in _lines(key, value):
            say(line)


@app.command()
def verify(data_dir: DataDir = None, json: Json = False) -> None:
    """Hold every file against its hash and run it. Exit code 0 when all are well, else 1.

    Example: kiosk models verify
    """
    manifest = _manifest(data_dir)
    found = [_verified(manifest, card) for card in manifest.models]
    well = all(one["ok"] for one in found)
    if json:
        print_json({"ok": well, "models": found})
    else:
        for one in found:
            say(f"{'ok ' if one['ok'] else 'BAD'} {one['role']:<10} {one['id']}: {one['detail']}")
    if not well:
        raise typer.Exit(1)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE.tflite", help="The network.")],
    card: Annotated[
        Path, typer.Option("--card", metavar="CARD.json", help="What it is and may be used for.")
    ],
    data_dir: DataDir = None,
    assets: Assets = False,
    json: Json = False,
) -> None:
    """Bring a network: tried here, pinned by its hash, used from the next start on in place of the other.

    The card is an entry of the manifest: role, licence, source, inputs, outputs, thresholds. Nothing is
    changed unless hash, shapes, thresholds and a trial run are right. `kiosk models rollback` undoes it.

    Example: kiosk models add antispoof.tflite --card antispoof.json --data-dir /var/lib/facepay-kiosk
    """
    from kiosk.vision import install
    from kiosk.vision.models import Role

    folder = _folder(data_dir, assets)
    done = install.add(file, card, folder, is_release=assets)
    if json:
        print_json({"added": done.card.id, "replaces": done.replaced.id, "ms": round(done.ms, 3)})
        return
    is_same = done.card.id == done.replaced.id  # with another card, or in place of a damaged file
    instead = "anew" if is_same else f"in place of {done.replaced.id}"
    say(f"added {done.card.id} as {done.card.role} {instead}; {done.ms:.1f} ms an answer")
    say("it is used from the next start on; `kiosk models rollback` undoes it")
    if done.card.role is Role.EMBEDDING:
        say("templates of another network can't be compared: enrol everybody again")
    if done.card.commercial != "yes" or not assets:
        say(
            f"production refuses it (commercial use: {done.card.commercial}) until it is named "
            "in models.accept_without_leave"
        )


@app.command()
def rollback(
    data_dir: DataDir = None,
    assets: Assets = False,
    release: Annotated[
        bool, typer.Option("--release", help="Take out all that was added: the release's own run again.")
    ] = False,
    json: Json = False,
) -> None:
    """Put back the networks that were there before the last `add` or `rollback`.

    Example: kiosk models rollback --release
    """
    from kiosk.vision import install
    from kiosk.vision.models import load_manifest

    folder = _folder(data_dir, assets)
    if release and assets:
        raise OperatorError("--release with --assets", do="The release's own folder has nothing added to it.")
    if release:
        if aside := install.take_out(folder):
            complain(f"{folder} is damaged or not yours alone: it is set aside as {aside}")
    else:
        install.roll_back(folder)
    manifest = load_manifest(folder) if assets else load_manifest(added=folder)
    if json:
        print_json({"models": [_summary(manifest, card) for card in manifest.models]})
        return
    for card in manifest.models:
        say(f"{card.role:<10} {card.id}")
    say("these are used from the next start on")


@app.command()
def convert(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="Which weights: minifasnet.")],
    weights: Annotated[Path, typer.Option("--weights", metavar="DIR", help="Folder with the weight files.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.tflite", help="Network; its card goes beside.")],
    json: Json = False,
) -> None:
    """Make a network for `kiosk models add`, and its card, of third parties' published weights.

    minifasnet: the two .pth files of Silent-Face-Anti-Spoofing (Apache-2.0), as one liveness network. Takes
    about a minute, and needs the extra 'convert' in an environment of its own (docs/models.md).

    Example: kiosk models convert minifasnet --weights minifasnet/ --out antispoof-minifasnet.tflite
    """
    import msgspec

    if network != "minifasnet":
        raise OperatorError(f"no recipe for {network[:80]!r}", do="There is: minifasnet.")
    if out.suffix != ".tflite":
        raise OperatorError(f"--out {str(out)!r}", do="Name a file that ends in .tflite.")
    if not out.parent.is_dir():  # said before the minute that converting takes
        raise OperatorError("no such folder", where=str(out.parent), do="Make it, or choose another --out.")
    convert_pair = _recipe()
    sys.stderr.write(f"converting {network} takes about a minute ...\n")
    sys.stderr.flush()
    model, card = convert_pair(weights, out.name)
    beside = out.with_suffix(".json")
    try:
        out.write_bytes(model)
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
    except OSError as error:
        raise OperatorError(
            f"cannot be written ({error.strerror})", where=str(error.filename), do="Choose another --out."
        ) from None
    if json:
        print_json({"file": str(out), "card": str(beside), "bytes": card.bytes, "sha256": card.sha256})
        return
    say(f"{out}: {card.bytes} bytes; {beside}: {card.licence}, commercial use: {card.commercial}")
    say("set its thresholds on your own attacks (docs/models.md), then:")
    say(f"kiosk models add {out} --card {beside}")


def _lines(key: str, value: Any, indent: str = "") -> Iterator[str]:
    """A part of a card for people: one line a field, what belongs to it further in."""
    if isinstance(value, dict):
        yield f"{indent}{key}:"
        for name, part in value.items():
            yield from _lines(name, part, indent + "  ")
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        for number, part in enumerate(value, start=1):
            yield from _lines(f"{key} {number}", part, indent)
    elif isinstance(value, list | tuple):
        yield f"{indent}{key}: {(' x ' if key == 'shape' else ', ').join(map(str, value))}"
    else:
        yield f"{indent}{key}: {value}"


def _recipe() -> Any:
    """The converter, once the libraries that it needs are there; what they remark on loading is not shown."""
    from kiosk.quiet import no_remarks

    try:
        with no_remarks():
            from kiosk.convert.minifasnet_pair import convert_pair
    except ImportError as error:
        raise OperatorError(
            f"the converter needs {error.name or error}, which is not installed",
            do='Run pip install "facepay-kiosk[convert]" in an environment of its own (docs/models.md).',
        ) from None
    return convert_pair


def _folder(data_dir: Path | None, assets: bool) -> Path:
    """The folder to change: the data folder's own, or the release's."""
    from kiosk.app.config import default_data_dir
    from kiosk.assets import assets_dir
    from kiosk.vision.models import added_in

    if assets and data_dir is not None:
        raise OperatorError("--assets with --data-dir", do="Name one of them.")
    return assets_dir() / "models" if assets else added_in(data_dir or default_data_dir())


def _manifest(data_dir: Path | None) -> Manifest:
    from kiosk.vision.models import load_manifest

    return load_manifest(added=_folder(data_dir, assets=False))


def _summary(manifest: Manifest, card: ModelCard) -> dict[str, Any]:
    return {
        "role": str(card.role),
        "id": card.id,
        "origin": "added" if card.id in manifest.added else "release",
        "file": card.file,
        "bytes": card.bytes,
        "sha256": card.sha256,
        "licence": card.licence,
        "commercial": card.commercial,
    }


def _verified(manifest: Manifest, card: ModelCard) -> dict[str, Any]:
    from kiosk.vision.models import read_model
    from kiosk.vision.trial import try_network

    try:
        taken_ms = try_network(card, read_model(card, manifest.home(card)))
    except OperatorError as error:
        detail, ok = ": ".join(part for part in (error.where, error.what) if part), False
    else:
        detail, ok = f"hash and shapes are right, {taken_ms:.1f} ms an answer", True
    return {"role": str(card.role), "id": card.id, "ok": ok, "detail": detail}
