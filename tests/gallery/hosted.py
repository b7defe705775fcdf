"""A TUF repository in memory, made with python-tuf's own formats, and a line to it that can be told to lie.

`Hosted` is honest until a test changes it; every file that it ever published can be served again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from kiosk.gallery.epoch import Epoch
from kiosk.gallery.fetch import Answer
from kiosk.gallery.segment import Place, seal
from kiosk.gallery.template import PayerRecord

NOTHING: Mapping[str, Any] = {}
URL = "http://repository.test/repo"
REGION = "north"
DELEGATED = ("gallery", "tombstones", "models", "texts")
PATHS = {
    "gallery": ["gallery/*/*"],
    "tombstones": ["tombstones/*"],
    "models": ["models/*"],
    "texts": ["consent/*/*"],
}


def later(**span: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**span)


class Hosted:
    """Roles and keys of a repository, and `files`: what a web server would serve of it, by path."""

    def __init__(self, *, hashed: bool = True) -> None:
        self.hashed = hashed
        """Whether lists of metadata name lengths and hashes too, as a publisher may."""
        self.files: dict[str, bytes] = {}
        self.signers = {
            role: CryptoSigner.generate_ed25519() for role in ("timestamp", "snapshot", "targets", *DELEGATED)
        }
        self.root_signers = [CryptoSigner.generate_ed25519() for _ in range(3)]
        self.root = Root(expires=later(days=365), consistent_snapshot=True)
        self.root.roles["root"].threshold = 2
        for signer in self.root_signers:
            self.root.add_key(signer.public_key, "root")
        for role in ("timestamp", "snapshot", "targets"):
            self.root.add_key(self.signers[role].public_key, role)
        self.targets = Targets(expires=later(days=30))
        self.targets.delegations = Delegations(
            {self.signers[role].public_key.keyid: self.signers[role].public_key for role in DELEGATED},
            {
                role: DelegatedRole(role, [self.signers[role].public_key.keyid], 1, True, paths=PATHS[role])
                for role in DELEGATED
            },
        )
        self.delegated = {role: Targets(expires=later(days=30)) for role in DELEGATED}
        self.snapshot = Snapshot(expires=later(days=7))
        for role in DELEGATED:
            self.snapshot.meta[f"{role}.json"] = MetaFile(1)
        self.timestamp = Timestamp(expires=later(hours=1))
        self.publish_root()
        self.pinned = self.files["metadata/1.root.json"]
        self.tombstones(1, [])
        self.publish()

    # --- content ---

    def add(self, role: str, path: str, content: bytes, custom: Mapping[str, Any] | None = None) -> None:
        target = TargetFile.from_data(path, content, ["sha256"])
        if custom:
            target.unrecognized_fields["custom"] = dict(custom)
        self.delegated[role].targets[path] = target
        folder, _, name = path.rpartition("/")
        self.files[f"targets/{folder}/{target.hashes['sha256']}.{name}"] = content

    def segment(
        self,
        epoch: Epoch,
        number: int,
        version: int,
        records: list[PayerRecord],
        custom: Mapping[str, Any] = NOTHING,
    ) -> bytes:
        sealed = bytes(seal(epoch.key("segment"), Place(epoch.id, number, version), records))
        described = {
            "region": epoch.region,
            "epoch": epoch.number,
            "version": version,
            "people": len(records),
            "model_id": records[0].model_id if records else "test-network-1",
            "references": sum(len(record.references) for record in records),
        }
        self.add("gallery", f"gallery/{epoch.id}/{number}.seg", sealed, {**described, **custom})
        return sealed

    def tombstones(self, version: int, tokens: list[str], region: str = REGION) -> None:
        said = {"version": version, "tokens": [{"token": token, "at": 1_795_000_000} for token in tokens]}
        self.add("tombstones", f"tombstones/{region}.json", json.dumps(said).encode())

    # --- metadata ---

    def publish(self, *roles: str) -> None:
        """New versions of `roles` (none: of all delegated ones), and of what lists them."""
        for role in roles or DELEGATED:
            self.delegated[role].version += 1
            self.write_role(role)
        self.write_targets()
        self.publish_snapshot()

    def write_role(self, role: str) -> None:
        signed = self.delegated[role]
        self.snapshot.meta[f"{role}.json"] = self.write(
            f"metadata/{signed.version}.{role}.json", signed, role
        )

    def write_targets(self) -> None:
        self.targets.version += 1
        self.snapshot.meta["targets.json"] = self.write(
            f"metadata/{self.targets.version}.targets.json", self.targets, "targets"
        )

    def publish_snapshot(self) -> None:
        self.snapshot.version += 1
        self.timestamp.snapshot_meta = self.write(
            f"metadata/{self.snapshot.version}.snapshot.json", self.snapshot, "snapshot"
        )
        self.publish_timestamp()

    def publish_timestamp(self) -> None:
        self.timestamp.version += 1
        self.write("metadata/timestamp.json", self.timestamp, "timestamp")

    def publish_root(self, signers: list[CryptoSigner] | None = None) -> None:
        signed = Metadata(self.root)
        for signer in signers or self.root_signers[:2]:
            signed.sign(signer, append=True)
        self.files[f"metadata/{self.root.version}.root.json"] = signed.to_bytes()

    def rotate(self, role: str) -> None:
        """Another key for a role of the root; the old one is worth nothing from the next root on."""
        self.root.revoke_key(self.signers[role].public_key.keyid, role)
        self.signers[role] = CryptoSigner.generate_ed25519()
        self.root.add_key(self.signers[role].public_key, role)
        self.root.version += 1
        self.publish_root()

    def write(self, path: str, signed: Any, role: str) -> MetaFile:
        """The file, signed; what a list says of it."""
        metadata = Metadata(signed)
        metadata.sign(self.signers[role])
        content = self.files[path] = metadata.to_bytes()
        hashes = {"sha256": hashlib.sha256(content).hexdigest()}
        return MetaFile(signed.version, len(content), hashes) if self.hashed else MetaFile(signed.version)


@dataclass
class Line:
    """A `Transport` to what `hosted` serves; each knob is one way to be a bad line or a hostile server."""

    hosted: Hosted
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range) of each request."""
    ranges: bool = True
    piece: int = 16 * 1024
    breaks: dict[str, int] = field(default_factory=dict)
    """After so many bytes of this path the line breaks, once."""
    instead: dict[str, Callable[[bytes], Iterator[bytes]]] = field(default_factory=dict)
    """What is sent instead of the pieces of this path."""
    before_piece: Callable[[str], None] = lambda path: None
    down: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str], head_s: float) -> Iterator[Answer]:
        assert url.startswith(URL + "/")
        path, wanted = url.removeprefix(URL + "/"), headers.get("Range", "")
        self.asked.append((path, wanted))
        if self.down:
            raise ConnectionRefusedError("connection refused")
        content = self.hosted.files.get(path)
        if content is None:
            yield Answer(404, {}, iter(()))
            return
        status, said = 200, dict(self.headers)
        if wanted and self.ranges:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            status, content = 206, content[first:]
            said["content-range"] = f"bytes {first}-{first + len(content) - 1}/{first + len(content)}"
        yield Answer(status, said, self._pieces(path, content))

    def _pieces(self, path: str, content: bytes) -> Iterator[bytes]:
        if path in self.instead:
            yield from self.instead[path](content)
            return
        sent, breaks = 0, self.breaks.pop(path, None)
        for start in range(0, len(content), self.piece):
            self.before_piece(path)
            if breaks is not None and sent >= breaks:
                raise ConnectionResetError("connection reset by peer")
            part = content[start : start + self.piece]
            sent += len(part)
            yield part

    def close(self) -> None:
        """Nothing is held open."""

    def paths(self) -> list[str]:
        """What was asked for since the last call."""
        found = [path for path, _ in self.asked]
        self.asked.clear()
        return found
