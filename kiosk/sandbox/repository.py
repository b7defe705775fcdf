"""What an acquirer publishes, as a TUF repository of plain files: signed by roles, whole at every moment.

`release` writes new versions beside the old ones and the timestamp last, in one step: whoever fetches, and
whatever is cut off, sees the state before or the state after. What is no longer referenced stays for
downloads that are under way, then it is deleted. Any web server can carry `repository/`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from tuf.api.exceptions import RepositoryError, StorageError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from kiosk.domain.errors import OperatorError
from kiosk.sandbox.files import explained, read_json, write
from kiosk.sandbox.repository_keys import KeyFiles, name_of

__all__ = ["KEEP_S", "LANES", "Repository", "Role", "State", "Target", "TargetFile", "described"]

KEEP_S: Final = 600.0
"""How long a file outlives what refers to it: a segment takes that long at 16 kbit/s."""
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
LIFETIME: Final = {
    "root": 365 * DAY,
    "targets": 90 * DAY,
    "models": 90 * DAY,
    "texts": 90 * DAY,
    "gallery": 7 * DAY,
    "tombstones": 7 * DAY,
    "snapshot": DAY,
    "timestamp": HOUR,
}
"""Signed anew when half of it is over. The timestamp's is how long a withheld deletion goes unnoticed."""
LANES: Final = {
    "gallery": "gallery/*/*",
    "tombstones": "tombstones/*",
    "models": "models/*",
    "texts": "consent/*/*",
}
"""The delegated roles, each with a key of its own, and the only paths that it may speak for."""
ROOT_KEYS: Final = 3
ROOT_THRESHOLD: Final = 2

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Target:
    """A file to be published, and what is signed beside its length and hash."""

    content: bytes
    custom: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """Who signs what: the version that is out, until when it holds, and the names of the keys."""

    name: str
    version: int
    expires: datetime
    keys: tuple[str, ...]


@dataclass(slots=True)
class State:
    """What is published now. `roles`: the targets and the lanes."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    roles: dict[str, Metadata[Targets]]

    def listed(self, lane: str) -> dict[str, TargetFile]:
        """What a lane publishes, by path."""
        return self.roles[lane].signed.targets

    def delegator(self, role: str) -> Root | Targets:
        """Who says which keys a role has."""
        return self.roles["targets"].signed if role in LANES else self.root.signed


def described(path: str, target: Target) -> TargetFile:
    """What is signed of a file."""
    more = {} if target.custom is None else {"custom": target.custom}
    digest = hashlib.sha256(target.content).hexdigest()
    return TargetFile(len(target.content), {"sha256": digest}, path, more)


class Repository:
    """The repository in `folder` (the sandbox's); one process at a time, which is the caller's to see to."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        self.folder = folder / "repository"
        self._metadata, self._targets = self.folder / "metadata", self.folder / "targets"
        self._first_root, self._superseded = folder / "root.json", folder / "superseded.json"
        self._root_keys = folder / "root-keys"
        self._keys = KeyFiles([folder / "repository-keys"])
        self._now_s = now_s
        self._known: tuple[bytes, State] | None = None

    @property
    def exists(self) -> bool:
        """Whether it was created; one that was cut off while it was is not."""
        with explained(self._metadata):
            return (self._metadata / "timestamp.json").exists()

    def create(self) -> None:
        """Keys and first versions of every role; `root.json` beside it is what a kiosk pins."""
        with explained(self._metadata):
            for folder in (self._metadata, self._targets):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        root, targets = Root(expires=self._until("root")), Targets(expires=self._until("targets"))
        roots = KeyFiles([self._root_keys])
        signers = [roots.make("root") for _ in range(ROOT_KEYS)]
        for signer in signers:
            root.add_key(signer.public_key, "root")
        root.roles["root"].threshold = ROOT_THRESHOLD
        for role in ("targets", "snapshot", "timestamp"):
            root.add_key(self._keys.make(role).public_key, role)
        lanes = {lane: DelegatedRole(lane, [], 1, True, [path]) for lane, path in LANES.items()}
        targets.delegations = Delegations({}, lanes)
        for lane in LANES:
            targets.add_key(self._keys.make(lane).public_key, lane)
        whole = Metadata(root)
        for signer in signers:
            whole.sign(signer, append=True)
        state = State(
            whole,
            Metadata(Timestamp()),
            Metadata(Snapshot(meta={})),
            {"targets": Metadata(targets)} | {lane: Metadata(Targets()) for lane in LANES},
        )
        unsigned: list[Signed] = [state.timestamp.signed, state.snapshot.signed]
        for signed in (*unsigned, *(role.signed for role in state.roles.values())):
            signed.version = 0  # signing makes it the first
        self._write(f"{root.version}.root.json", whole.to_bytes())
        write(self._first_root, whole.to_bytes())
        self._release(state, {})

    def state(self) -> State:
        """What is published now. OperatorError: it can't be read."""
        timestamp = self._read("timestamp.json")
        if self._known is None or self._known[0] != timestamp:
            self._known = timestamp, self._loaded(timestamp)
        return self._known[1]

    def roles(self) -> list[Role]:
        """All roles, as they are out now."""
        state = self.state()
        signed: dict[str, Metadata[Any]] = {
            "root": state.root,
            "timestamp": state.timestamp,
            "snapshot": state.snapshot,
            **state.roles,
        }
        return [
            Role(
                name,
                metadata.signed.version,
                metadata.signed.expires,
                tuple(
                    name_of(name, keyid) for keyid in state.delegator(name).get_delegated_role(name).keyids
                ),
            )
            for name, metadata in signed.items()
        ]

    def put(self, path: str, target: Target) -> TargetFile:
        """Write a file under the name that its hash gives it; `release` publishes it."""
        made = described(path, target)
        place = self._targets / _name(made)
        with explained(place):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(place, target.content)
        return made

    def content(self, target: TargetFile) -> bytes:
        """A file that is published."""
        place = self._targets / _name(target)
        with explained(place):
            return place.read_bytes()

    def release(self, changes: Mapping[str, Mapping[str, TargetFile | None]] | None = None) -> bool:
        """Publish `changes` (lane, path, file or None to drop it), and sign anew whatever is half over.

        Returns whether there was anything to do.
        """
        state = deepcopy(self.state())
        self._known = None
        return self._release(state, changes or {})

    def rotate(self, names: Iterable[str], root_folders: Iterable[Path] = ()) -> list[str]:
        """New keys in the place of `names` (a role: all of its keys; or one key, as `name_of` calls it).

        The new root is signed by two of the old root's keys and two of the new, looked for in `root_folders`
        too; then everything that the old keys had signed is signed anew. Returns the new keys' names.
        """
        state = deepcopy(self.state())
        self._known = None
        roots = KeyFiles([self._root_keys, *root_folders])
        root, before = state.root.signed, list(state.root.signed.roles["root"].keyids)
        if len(roots.find(before)) < ROOT_THRESHOLD:
            names_of = ", ".join(name_of("root", keyid) for keyid in before)
            raise OperatorError(
                f"{ROOT_THRESHOLD} of the root's keys are needed: {names_of}",
                where=str(self._root_keys),
                do="Bring them, or name their folder with --root-keys.",
            )
        replaced: list[tuple[str, str]] = []
        for name in names:
            replaced += self._named(state, name)
        made = []
        for role, keyid in replaced:
            signer = (roots if role == "root" else self._keys).make(role)
            delegator = state.delegator(role)
            delegator.revoke_key(keyid, role)
            delegator.add_key(signer.public_key, role)
            made.append(name_of(role, signer.public_key.keyid))
        if any(role in LANES for role, _ in replaced):
            state.roles["targets"].signatures.clear()  # it names other keys: it is signed anew
        root.version, root.expires = root.version + 1, self._until("root")
        state.root.signatures.clear()
        for signer in roots.find({*before, *root.roles["root"].keyids}):
            state.root.sign(signer, append=True)
        root.verify_delegate("root", state.root.signed_bytes, state.root.signatures)
        self._write(f"{root.version}.root.json", state.root.to_bytes())
        self._release(state, {})
        retired = {keyid for _, keyid in replaced}
        roots.remove(retired)
        self._keys.remove(retired)
        return made

    # --- inside -----------------------------------------------------------------------------------------

    def _release(self, state: State, changes: Mapping[str, Mapping[str, TargetFile | None]]) -> bool:
        snapshot, timestamp = state.snapshot.signed, state.timestamp.signed
        released = False
        for role, metadata in state.roles.items():
            change = changes.get(role, {})
            if not change and not self._is_due(state, role, metadata):
                continue
            for path, target in change.items():
                if target is None:
                    metadata.signed.targets.pop(path, None)
                else:
                    metadata.signed.targets[path] = target
            snapshot.meta[f"{role}.json"] = self._signed(state, role, metadata)
            released = True
        if released or self._is_due(state, "snapshot", state.snapshot):
            timestamp.snapshot_meta = self._signed(state, "snapshot", state.snapshot)
            released = True
        if released or self._is_due(state, "timestamp", state.timestamp):
            self._signed(state, "timestamp", state.timestamp)
            released = True
        self._sweep(state)
        return released

    def _is_due(self, state: State, role: str, metadata: Metadata[Any]) -> bool:
        """Whether half of its time is over, or its keys are others by now."""
        left = metadata.signed.expires - self._now()
        if not metadata.signed.version or left < LIFETIME[role] / 2:
            return True
        try:
            state.delegator(role).verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except UnsignedMetadataError:
            return True
        return False

    def _signed(self, state: State, role: str, metadata: Metadata[Any]) -> MetaFile:
        """The next version of a role, signed and on the disk."""
        metadata.signed.version += 1
        metadata.signed.expires = self._until(role)
        metadata.signatures.clear()
        keyids = state.delegator(role).get_delegated_role(role).keyids
        signers = self._keys.find(keyids)
        if not signers:
            raise OperatorError(
                f"the key of the role {role} is missing",
                do=f"Put {name_of(role, keyids[0])}.key back, or run "
                f"`kiosk sandbox repository rotate-root --replace {role}`.",
            )
        for signer in signers:
            metadata.sign(signer, append=True)
        content, version = metadata.to_bytes(), metadata.signed.version
        self._write("timestamp.json" if role == "timestamp" else f"{version}.{role}.json", content)
        return MetaFile(version, len(content), {"sha256": hashlib.sha256(content).hexdigest()})

    def _named(self, state: State, name: str) -> list[tuple[str, str]]:
        """Role and id of each key that `name` means. OperatorError: none."""
        delegated = state.roles["targets"].signed.delegations
        roles = {**state.root.signed.roles, **(delegated.roles or {} if delegated else {})}
        known = [(role, keyid) for role, said in roles.items() for keyid in said.keyids]
        found = [(role, keyid) for role, keyid in known if name in (role, name_of(role, keyid))]
        if not found:
            raise OperatorError(
                f"no key is called {name!r}", do=f"Use {', '.join(roles)}, or one key as `status` names it."
            )
        return found

    def _loaded(self, timestamp: bytes) -> State:
        newest = max((int(path.name.split(".")[0]) for path in self._metadata.glob("*.root.json")), default=1)
        stamp = self._parsed("timestamp.json", Timestamp, timestamp)
        snapshot = self._parsed(f"{stamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        return State(
            self._parsed(f"{newest}.root.json", Root),
            stamp,
            snapshot,
            {
                name.removesuffix(".json"): self._parsed(f"{meta.version}.{name}", Targets)
                for name, meta in snapshot.signed.meta.items()
            },
        )

    def _parsed(self, name: str, kind: type[S], content: bytes | None = None) -> Metadata[S]:
        raw = self._read(name) if content is None else content
        try:
            return Metadata[S].from_bytes(raw)
        except (RepositoryError, StorageError) as error:
            raise OperatorError(
                f"not metadata of a repository ({error})",
                where=str(self._metadata / name),
                do="Move the folder away and run `kiosk sandbox repository init`; kiosks pin it anew.",
            ) from None

    def _read(self, name: str) -> bytes:
        path = self._metadata / name
        with explained(path):
            return path.read_bytes()

    def _write(self, name: str, content: bytes) -> None:
        write(self._metadata / name, content)

    def _sweep(self, state: State) -> None:
        """Delete what nothing has referred to for `KEEP_S`; roots stay, kiosks walk through all of them."""
        names = {f"{meta.version}.{name}" for name, meta in state.snapshot.signed.meta.items()}
        names |= {"timestamp.json", f"{state.snapshot.signed.version}.snapshot.json"}
        used = {self._metadata / name for name in names}
        for metadata in state.roles.values():
            used |= {self._targets / _name(target) for target in metadata.signed.targets.values()}
        known = read_json(self._superseded, dict[str, float]) or {}
        now, since = self._now_s(), {}
        for path in (path for path in self.folder.rglob("*") if path.is_file()):
            if path in used or path.name.endswith(".root.json"):
                continue
            name = str(path.relative_to(self.folder))
            if now - known.get(name, now) >= KEEP_S:
                path.unlink()
            else:
                since[name] = known.get(name, now)
        if since != known:
            write(self._superseded, msgspec.json.encode(since))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self._now_s()), UTC)

    def _until(self, role: str) -> datetime:
        return self._now() + LIFETIME[role]


def _name(target: TargetFile) -> str:
    """Where a file lies: its SHA-256 before its name, so that no two states share it."""
    folder, _, name = target.path.rpartition("/")
    return f"{folder}/{target.hashes['sha256']}.{name}"
