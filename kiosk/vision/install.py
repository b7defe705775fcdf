"""Networks that an integrator brings: tried before they are taken, pinned by hash, taken back in one step.

A folder of networks is changed by replacing its manifest, whole or not at all: files have their hash in their
name, so a new one never overwrites an old one. The manifest before the last change is kept for `roll_back`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kiosk.domain.errors import OperatorError
from kiosk.files import write_whole
from kiosk.vision.look import LookRules
from kiosk.vision.models import (
    MANIFEST_NAME,
    MAX_MODEL_BYTES,
    Manifest,
    ModelCard,
    Role,
    Tensor,
    added_cards,
    id_suffix,
    load_manifest,
    read_cards,
    read_model,
    thresholds_of,
    written,
)
from kiosk.vision.trial import try_network

__all__ = ["Added", "add", "check_contract", "read_card", "roll_back", "take_out"]

FORMER_NAME: Final = "manifest.former.json"
READABLE: Final = 0o644
"""Mode of what is added: no secret, and not only its owner runs it."""
MAX_CARD_BYTES: Final = 256 * 1024
MAX_VIEWS: Final = 4
"""Crops of one face that a liveness network may look at: each costs time in every frame."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,54}")
"""With the hash's nine characters it is a name on the wire (64 at most), and a file's name."""
_OURS = re.compile(r".+-[0-9a-f]{8}\.tflite")
_INCOMPLETE = "docs/models.md says what a card of each role holds, and shows one."
_NO_CARD = "docs/models.md shows a card; `kiosk models show liveness --json` prints one."


@dataclass(frozen=True, slots=True)
class Added:
    """A network that was taken: `replaced` did its work until now, `ms` is what one answer takes here."""

    card: ModelCard
    replaced: ModelCard
    ms: float


def read_card(path: Path) -> ModelCard:
    """An integrator's card, field by field as a manifest's; OperatorError with the field."""
    try:
        card = msgspec.json.decode(_bounded(path, MAX_CARD_BYTES), type=ModelCard)
    except msgspec.MsgspecError as error:
        raise OperatorError(f"is not a model's card: {error}", where=str(path), do=_NO_CARD) from None
    if not all(text.isprintable() for text in _texts(msgspec.to_builtins(card))):
        raise OperatorError("holds characters that can't be printed", where=str(path), do=_NO_CARD)
    if not _ID.fullmatch(card.id):
        raise OperatorError(
            f"id {card.id[:80]!r}",
            where=str(path),
            do="Use 1 to 55 letters, digits or . _ -, a letter first.",
        )
    return card


def add(file: Path, card_file: Path, folder: Path, *, is_release: bool = False) -> Added:
    """Take `file` as the network of the card in `card_file` into `folder`, once all about it is right.

    The card's hash and size have to be the file's, shapes and thresholds fit for its role, and the file has
    to run here (`kiosk.vision.trial`). Its id gets the hash's first digits. With `is_release` the folder is a
    release's own. OperatorError, and nothing is changed, when something is wrong, or is so already.
    """
    card = read_card(card_file)
    data = _bounded(file, MAX_MODEL_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if (found, len(data)) != (card.sha256, card.bytes):
        raise OperatorError(
            f"is not what the card describes: {len(data)} bytes with sha256 {found}, "
            f"the card says {card.bytes} bytes with {card.sha256}",
            where=str(file),
            do="Take the file that the card was written for, or mend the card.",
        )
    suffix = id_suffix(found)
    name = card.id if card.id.endswith(suffix) else card.id + suffix
    card = msgspec.structs.replace(card, id=name, file=f"{name}.tflite")
    with _changing(folder):
        running = load_manifest(folder) if is_release else load_manifest(added=folder)
        replaced = running.card(card.role)
        if _is_in_use(card, running):
            raise OperatorError(
                f"{replaced.id} is already in use", where=str(file), do="Nothing was changed."
            )
        with _blaming(card_file):
            check_contract(card, replaced)
            _check_thresholds(running, card)
        taken_ms = try_network(card, data)
        write_whole(folder / card.file, data, READABLE)
        kept = [other for other in _listed(folder) if other.role is not card.role]
        _publish(folder, [*kept, card])
        _tidy(folder)
    return Added(card, replaced, taken_ms)


def roll_back(folder: Path) -> tuple[ModelCard, ...]:
    """Put back what `folder` listed before its last change, and give that; doing it twice undoes it.

    Every file of it is held against its hash first. OperatorError when there is nothing to go back to.
    """
    if not (folder / FORMER_NAME).exists():
        raise OperatorError(
            "there is nothing to go back to", where=str(folder), do="Nothing was added here yet."
        )
    with _changing(folder):
        cards = read_cards(folder / FORMER_NAME)
        for card in cards:
            read_model(card, folder)
        _publish(folder, cards)
    return cards


def take_out(folder: Path) -> Path | None:
    """Take all that was added out of use: the release's own networks run again. `roll_back` undoes it.

    A damaged folder, which no kiosk would start with, is set aside whole: its new name, else None.
    """
    try:
        with _changing(folder):
            added_cards(folder)
            _publish(folder, [])
    except OperatorError as damage:
        return _set_aside(folder, damage)
    return None


def check_contract(card: ModelCard, like: ModelCard) -> None:
    """Refuses a card whose inputs and outputs the kiosk could not serve in that role.

    A liveness network says itself which crops it wants; the others take and give what `like`, the one that
    they replace, does.
    """
    shapes = tuple(tuple(tensor.shape for tensor in part) for part in (card.input, card.output))
    if card.role is not Role.LIVENESS:
        wanted = tuple(tuple(tensor.shape for tensor in part) for part in (like.input, like.output))
        if shapes != wanted:
            raise OperatorError(
                f"model {card.id} takes and gives {shapes}, the {card.role} takes and gives {wanted}",
                do="docs/models.md says what each role takes.",
            )
        return
    problem = ""
    if not 1 <= len(card.input) <= MAX_VIEWS:
        problem = f"has {len(card.input)} inputs, not 1 to {MAX_VIEWS}"
    elif shapes[1] != ((1, 1),):
        problem = f"gives {shapes[1]}, not one logit of shape (1, 1)"
    else:
        problem = next((text for tensor in card.input if (text := _wrong_view(tensor))), "")
    if problem:
        raise OperatorError(
            f"model {card.id} {problem}", do="docs/models.md says what a liveness network takes and gives."
        )


def _wrong_view(tensor: Tensor) -> str:
    """What is wrong with one input of a liveness network; empty when nothing is."""
    side = tensor.shape[1] if len(tensor.shape) == 4 else 0
    if tensor.shape != (1, side, side, 3) or not 16 <= side <= 512:
        return f"takes {tensor.name} as {tensor.shape}, not as (1, s, s, 3) with s from 16 to 512"
    if tensor.crop_scale is None or not 0.5 <= tensor.crop_scale <= 8.0:
        return f"needs crop_scale of {tensor.name} from 0.5 to 8 face widths, not {tensor.crop_scale}"
    if not 0.0 <= tensor.crop_raised <= 1.0 or (tensor.crop_raised and tensor.crop_edge != "inside"):
        return f"needs crop_raised of {tensor.name} from 0 to 1, and crop_edge inside with it"
    if not (tensor.crop_exposure == 0.0 or 40.0 <= tensor.crop_exposure <= 220.0):
        return f"needs crop_exposure of {tensor.name} from 40 to 220, or 0 for none"
    return ""


def _is_in_use(card: ModelCard, running: Manifest) -> bool:
    """Whether that file runs here, with that card but for its name, and unharmed: adding it mends one."""
    used = running.card(card.role)
    if msgspec.structs.replace(card, id=used.id, file=used.file) != used:
        return False
    try:
        read_model(used, running.home(used))
    except OperatorError:
        return False
    return True


@contextmanager
def _blaming(card_file: Path) -> Iterator[None]:
    """What is wrong with a card is to be mended in its file."""
    try:
        yield
    except OperatorError as error:
        raise OperatorError(error.what, where=str(card_file), do=_INCOMPLETE) from None


def _check_thresholds(running: Manifest, card: ModelCard) -> None:
    """What reads thresholds in the product reads these: its complaint is the refusal."""
    others = tuple(other for other in running.models if other.role is not card.role)
    after = Manifest(1, (*others, card))
    if card.role in (Role.LIVENESS, Role.EMBEDDING):
        LookRules.of(after)
    if card.role is Role.EMBEDDING:
        thresholds_of(card)


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, part in value.items():
                yield str(key)
                yield from _texts(part)
        case list() | tuple():
            for part in value:
                yield from _texts(part)
        case _:
            return


def _bounded(path: Path, most: int) -> bytes:
    """A file's bytes; OperatorError for one that can't be read or is larger than `most`."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})", where=str(path), do="Check the name."
        ) from None
    if len(data) > most:
        raise OperatorError(f"is larger than {most // 1024} KiB", where=str(path), do="Nothing was changed.")
    return data


# --- the folder -------------------------------------------------------------------------------------------


@contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """One process at a time changes a folder of networks; what the disk refuses is one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OperatorError(
            f"can't be changed ({error.strerror})",
            where=str(folder),
            do="Run as its owner, or use --data-dir.",
        ) from None


def _set_aside(folder: Path, damage: OperatorError) -> Path:
    """Give a damaged folder another name, which is returned; `damage` again where the disk refuses that."""
    names = (f"{folder.name}.damaged{number}" for number in ("", *(f"-{n}" for n in range(2, 100))))
    free = next((path for path in map(folder.with_name, names) if not os.path.lexists(path)), None)
    if free is None:
        raise damage
    try:
        return folder.rename(free)
    except OSError:
        raise damage from None


def _listed(folder: Path) -> tuple[ModelCard, ...]:
    path = folder / MANIFEST_NAME
    return read_cards(path) if path.exists() else ()


def _publish(folder: Path, cards: Sequence[ModelCard]) -> None:
    """Make `cards` what the folder lists, and what it listed the former list."""
    write_whole(folder / FORMER_NAME, written(_listed(folder)), READABLE)
    write_whole(folder / MANIFEST_NAME, written(cards), READABLE)


def _tidy(folder: Path) -> None:
    """Delete added files that neither the list nor the former one needs."""
    needed = {card.file for card in (*_listed(folder), *read_cards(folder / FORMER_NAME))}
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in needed:
            path.unlink()
