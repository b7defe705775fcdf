"""The manifest of the networks: which file does what, where it comes from, what it may be used for.

A file is read once, its SHA-256 is checked, and those bytes are what runs; a wrong file is refused by name.
Thresholds live here too, each with the command that set it. Nothing is ever downloaded.

A release has one folder of networks. What an integrator added (`kiosk.vision.install`) lies in a second one
with a manifest of its own, in the data folder, and takes the release's place for its role.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import msgspec

from kiosk.assets import assets_dir
from kiosk.domain.decision import FalseMatchBound, Thresholds
from kiosk.domain.errors import OperatorError
from kiosk.files import is_there
from kiosk.vision.runtime import Model

__all__ = [
    "FalseMatches",
    "Manifest",
    "ModelCard",
    "Role",
    "Source",
    "Tensor",
    "Threshold",
    "added_cards",
    "added_in",
    "check_mode",
    "id_suffix",
    "load_manifest",
    "load_model",
    "read_cards",
    "read_model",
    "thresholds_of",
    "uncleared",
    "written",
]


MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_MODEL_BYTES = 64 * 1024 * 1024
"""Far above the shipped ones (all together 3 MB): what is larger is not meant for a kiosk."""


class Role(StrEnum):
    """What a network is for; the manifest has at most one for each."""

    DETECTOR = "detector"
    LANDMARKS = "landmarks"
    EMBEDDING = "embedding"
    LIVENESS = "liveness"


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A number that decides something, and the command that set it."""

    value: float
    set_by: str


class FalseMatches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The false match rate of an embedding network by cosine, and the command that measured it.

    `fmr` is the estimate, `upper` the upper end of its one-sided 95 % interval: what decisions rely on.
    """

    cosines: tuple[float, ...]
    fmr: tuple[float, ...]
    upper: tuple[float, ...]
    set_by: str


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One input or output: its shape, what its values mean, and for a crop of the face how wide it is.

    `crop_scale` is the crop's side in face widths (the detector's box). `crop_edge` is what becomes of a crop
    that reaches beyond the frame: mirrored there, or moved and shrunk to lie `inside`; then the box's top is
    first raised by `crop_raised` of its height. `crop_exposure`, if not 0, is the luma that the face's median
    is brought to (`kiosk.vision.liveness`).
    """

    name: str
    shape: tuple[int, ...]
    values: str
    crop_scale: float | None = None
    crop_edge: Literal["mirror", "inside"] = "mirror"
    crop_raised: float = 0.0
    crop_exposure: float = 0.0


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a network comes from: a registry's package and the file in it, or the command that trained it."""

    registry: str
    package: str
    version: str = ""
    file: str = ""
    archive_sha256: str = ""
    file_sha256: str = ""


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is known of one network.

    `commercial` is whether its terms allow selling what uses it. `trained_subjects` names the people (as data
    sets number them) whom a network of our own was trained on: figures on them are of *seen people*.
    `attribution` is the notice that its licence wants kept.
    """

    id: str
    role: Role
    file: str
    sha256: str
    bytes: int
    source: Source
    build: str
    licence: str
    commercial: Literal["yes", "no", "unstated"]
    trained_on: str
    input: tuple[Tensor, ...]
    output: tuple[Tensor, ...]
    thresholds: dict[str, Threshold]
    trained_subjects: tuple[str, ...] = ()
    false_matches: FalseMatches | None = None
    attribution: str = ""

    def threshold(self, name: str) -> float:
        """The value of threshold `name`; an OperatorError that says so when the manifest has none."""
        if name not in self.thresholds:
            raise OperatorError(
                f"model {self.id} has no threshold {name!r}",
                where="manifest.json",
                do="Set it with tools/set_thresholds.py, or install a complete release.",
            )
        return self.thresholds[name].value


class Manifest(msgspec.Struct, frozen=True):
    """The networks that run here. `homes` holds the folder of each, by id."""

    format: Literal[1]
    models: tuple[ModelCard, ...]
    homes: Mapping[str, Path] = {}
    added: frozenset[str] = frozenset()
    """The ids of those that an integrator added; the others are the release's."""

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits for this very set of files: another one where any network is another."""
        files = "\n".join(sorted(f"{card.role} {card.sha256}" for card in self.models))
        return hashlib.sha256(files.encode()).hexdigest()[:16]

    def home(self, card: ModelCard) -> Path | None:
        """The folder that `card`'s file lies in; None for the release's own."""
        return self.homes.get(card.id)

    def find(self, role: Role) -> ModelCard | None:
        """The network for `role`, None when this release has none."""
        return next((card for card in self.models if card.role is role), None)

    def card(self, role: Role) -> ModelCard:
        """The network for `role`; OperatorError when this release has none."""
        card = self.find(role)
        if card is None:
            raise OperatorError(
                f"has no model for {role}", where="manifest.json", do="Install a complete release."
            )
        return card


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a manifest.json holds."""

    format: Literal[1]
    models: tuple[ModelCard, ...]


def added_in(data_dir: Path) -> Path:
    """Where the networks lie that were added to the kiosk with this data folder; it need not be there."""
    return data_dir / "models"


def id_suffix(sha256: str) -> str:
    """What the id of an added network ends in: another file can't go by the same name in any evidence."""
    return f"-{sha256[:8]}"


def load_manifest(directory: Path | None = None, added: Path | None = None) -> Manifest:
    """The manifest in `directory` (default: the release's own), checked field by field.

    With `added`, a folder that need not be there, the networks in it take the others' place for their role. A
    damaged folder is refused, never passed over, and so is one that others than its owner may write: what an
    integrator chose must not silently turn into something else.
    """
    release = directory or assets_dir() / "models"
    cards = {card.role: card for card in read_cards(release / MANIFEST_NAME)}
    homes = {card.id: release for card in cards.values()}
    others: tuple[ModelCard, ...] = ()
    if added is not None:
        others = added_cards(added)
        cards |= {card.role: card for card in others}
        homes |= {card.id: added for card in others}
    return Manifest(1, tuple(cards.values()), homes, frozenset(card.id for card in others))


def added_cards(folder: Path) -> tuple[ModelCard, ...]:
    """What an integrator added, from a folder that need not be there; OperatorError for a damaged one."""
    path = folder / MANIFEST_NAME
    if not is_there(path):
        return ()
    _require_owners_only(folder, path)
    cards = read_cards(path)
    for card in cards:
        if not card.id.endswith(id_suffix(card.sha256)):
            raise OperatorError(
                f"model id {card.id!r} does not end in the first 8 digits of its sha256",
                where=str(path),
                do=_TAKE_OUT,
            )
    return cards


def read_cards(path: Path) -> tuple[ModelCard, ...]:
    """The cards of one manifest file, checked field by field; one for each role at most."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
        if len(raw) > MAX_MANIFEST_BYTES:
            raise OperatorError("is larger than 1 MiB", where=str(path), do=_mend(path.parent))
        cards = msgspec.json.decode(raw, type=_File).models
    except OSError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})",
            where=str(path),
            do=_mend(path.parent),
        ) from error
    except msgspec.MsgspecError as error:
        raise OperatorError(f"is not a manifest: {error}", where=str(path), do=_mend(path.parent)) from error
    roles = [card.role for card in cards]
    if len(set(roles)) != len(roles):
        raise OperatorError("names two models for one role", where=str(path), do="Leave one of them.")
    return cards


def written(cards: Sequence[ModelCard]) -> bytes:
    """A manifest file's bytes, for `read_cards`."""
    return msgspec.json.format(msgspec.json.encode(_File(1, tuple(cards))), indent=2) + b"\n"


def _require_owners_only(*paths: Path) -> None:
    """Who can change a network decides who is let through: its hash is in a file that lies beside it."""
    for path in paths:
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OperatorError("others may write it", where=str(path), do=f"Run: chmod go-w {path}")


def read_model(card: ModelCard, directory: Path | None = None) -> bytes:
    """The file's bytes, once their hash is the manifest's; a wrong or missing file is refused by name."""
    folder = directory or assets_dir() / "models"
    path = folder / card.file
    if Path(card.file).name != card.file:
        raise OperatorError(
            f"model file {card.file!r} lies outside the models' folder",
            where=str(folder / MANIFEST_NAME),
            do=_mend(folder),
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise OperatorError(
            f"model cannot be read ({error.strerror})", where=str(path), do=_mend(folder)
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise OperatorError(
            f"is not model {card.id}: sha256 is {found[:12]}…, the manifest says {card.sha256[:12]}…",
            where=str(path),
            do=_mend(folder),
        )
    return data


_REINSTALL: Final = (
    "Install the models again or rebuild them with tools/build_models.py, or set KIOSK_ASSETS."
)
_TAKE_OUT: Final = "Run `kiosk models rollback --release`, then add it again."


def _mend(folder: Path) -> str:
    """What to do about a damaged `folder` of networks: the release's own, or what was added."""
    return _REINSTALL if folder == assets_dir() / "models" else _TAKE_OUT


def load_model(card: ModelCard, directory: Path | None = None, *, threads: int = 1) -> Model:
    """The network of `card`, hash-checked and ready to run."""
    return Model(
        read_model(card, directory),
        name=card.file,
        shapes_in=[tensor.shape for tensor in card.input],
        shapes_out=[tensor.shape for tensor in card.output],
        threads=threads,
    )


def uncleared(manifest: Manifest, named: Collection[str] = ()) -> list[ModelCard]:
    """The networks that production needs an operator's word for, and that `named` (ids) does not hold.

    Those whose terms do not clearly allow sale, and every one that was added here: what its card says of
    itself, whoever wrote into the folder may have written.
    """
    return [
        card
        for card in manifest.models
        if (card.commercial != "yes" or card.id in manifest.added) and card.id not in named
    ]


def check_mode(manifest: Manifest, mode: str, named: Collection[str] = ()) -> None:
    """Refuses production with a model that it needs an operator's word for (`uncleared`).

    `named` holds the ids that the operator has taken responsibility for, one by one. Other modes pass.
    """
    if mode != "production":
        return
    refused = uncleared(manifest, named)
    if refused:
        listed = ", ".join(
            f"{card.id} ({card.licence}; commercial use: {card.commercial}"
            + (", added here)" if card.id in manifest.added else ")")
            for card in refused
        )
        raise OperatorError(
            f"production mode refuses {listed}",
            where="manifest.json",
            do="If you hold the right to use it, name each id under models.accept_without_leave in the "
            "configuration (kiosk.toml in the data folder, or --config); or replace the model.",
        )


def thresholds_of(card: ModelCard) -> Thresholds:
    """The shipped thresholds of the embedding network; OperatorError where one is missing or impossible."""
    if card.false_matches is None:
        raise OperatorError(
            f"model {card.id} has no false match rates, so no gallery's threshold is known",
            where="manifest.json",
            do="Set them with tools/set_thresholds.py, or install a complete release.",
        )
    try:
        return Thresholds(
            match=card.threshold("match"),
            match_with_digits=card.threshold("match_with_digits"),
            margin=card.threshold("margin"),
            promised_fpir=card.threshold("promised_fpir"),
            false_matches=FalseMatchBound(card.false_matches.cosines, card.false_matches.upper),
        )
    except ValueError as error:
        raise OperatorError(
            f"model {card.id}: {error}", where="manifest.json", do="Set it with tools/set_thresholds.py."
        ) from error
