"""From the books to the repository: people into sealed segments, withdrawals into tombstones, texts, models.

What should be published is compared with what is, so that a publication that was cut off is simply made
again. Deletions go out first and on their own. A person keeps their segment, and only segments in which
something changed are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from kiosk.acquirer.messages import Message, UtcTime, encode, parse
from kiosk.acquirer.operations import ConsentMessage, WishesMessage
from kiosk.assets import assets_dir
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import NO_LIMITS, Limits
from kiosk.domain.ports import Clock
from kiosk.files import alone
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.segment import SEGMENT_PEOPLE, Place, seal
from kiosk.gallery.template import MAX_REFERENCES, TEMPLATE_SIZE, PayerRecord, Reference, Template
from kiosk.sandbox.epochs import Epochs
from kiosk.sandbox.files import explained, read_json
from kiosk.sandbox.gallery_keys import REGION
from kiosk.sandbox.ledger import Ledger, Person
from kiosk.sandbox.ledger_gallery import Segment
from kiosk.sandbox.repository import Repository, Target, TargetFile, described
from kiosk.sandbox.templates import SEALED_BYTES, Templates

__all__ = ["TOMBSTONE_S", "Published", "Publisher"]

TOMBSTONE_S: Final = 90 * 86_400
"""How long a withdrawal is told; longer ago nobody is in any segment that a kiosk may still believe."""
AT_ONCE: Final = 50
"""Segments of one release, about 5 s: what is told of deletions is never further away than that."""
PLACED_AT_ONCE: Final = 5_000
"""People of one transaction, a tenth of a second: payments wait no longer."""


class _Tombstone(Message, frozen=True, kw_only=True):
    token: str
    at: UtcTime


class _Tombstones(Message, frozen=True, kw_only=True):
    version: int
    tokens: tuple[_Tombstone, ...]


class _Card(msgspec.Struct, frozen=True):
    id: str
    file: str


class _Manifest(msgspec.Struct, frozen=True):
    models: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class Published:
    """What is out: the epoch, and how much of what. `waiting`: people who are not in it yet."""

    region: str
    epoch: int
    epoch_id: str
    segments: int
    people: int
    references: int
    tombstones_version: int
    tombstones: int
    texts: int
    models: int
    waiting: int


class Publisher:
    """Publishes what the books and the assets hold; one process at a time, others wait.

    `stopping` is asked between segments: what is done by then is released.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        clock: Clock,
        *,
        assets: Path | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder, self._ledger, self._clock, self._stopping = folder, ledger, clock, stopping
        self._assets = assets or assets_dir()
        self._epochs, self._templates = Epochs(folder), Templates(folder)
        self.repository = Repository(folder, clock.utc_s)

    def create(self, region: str = REGION) -> bool:
        """A repository with its first epoch; False where there is one already. OperatorError: bad region."""
        with self._alone():
            self._epochs.begin(region)
            if self.repository.exists:
                return False
            self.repository.create()
            with self._ledger.transaction():
                self._ledger.gallery.seed()
            return True

    def publish(self, *, model_files: bool | None = None) -> bool:
        """Bring what is published up to what should be; whether there was anything to do.

        `model_files`: with the networks themselves, or without; None: as before. The cards always are.
        """
        with self._alone():
            self._epoch()
            texts, models = self._texts(), self._models(model_files)
            released = self.repository.release({"texts": texts, "models": models})
            return self._publish_people() or released

    def publish_people(self) -> bool:
        """Only what is of people, and what is half over; whether there was anything to do."""
        with self._alone():
            return self._publish_people() or self.repository.release()

    def renew_epoch(self) -> Epoch:
        """A new epoch in the place of the one in force, for every segment in one release."""
        with self._alone():
            epoch = self._epochs.renew()
            self._publish_segments(epoch)
            return epoch

    def rotate(self, names: list[str], root_folders: list[Path]) -> list[str]:
        """See `Repository.rotate`."""
        with self._alone():
            return self.repository.rotate(names, root_folders)

    def published(self) -> Published:
        """What is out now. OperatorError: nothing is."""
        epoch, state = self._epoch(), self.repository.state()
        customs: list[dict[str, Any]] = [target.custom or {} for target in state.listed("gallery").values()]
        told = self._told(epoch.region)
        return Published(
            region=epoch.region,
            epoch=epoch.number,
            epoch_id=epoch.id,
            segments=len(customs),
            people=sum(custom["people"] for custom in customs),
            references=sum(custom["references"] for custom in customs),
            tombstones_version=told.version,
            tombstones=len(told.tokens),
            texts=len(state.listed("texts")),
            models=len(state.listed("models")),
            waiting=self._ledger.gallery.number_waiting(),
        )

    # --- people -----------------------------------------------------------------------------------------

    def _publish_people(self) -> bool:
        epoch = self._epoch()
        self._end_consents()
        told = self._tell_deletions()
        self._place()
        return self._publish_segments(epoch) or told

    def _end_consents(self) -> None:
        """A consent that ended by itself is as good as withdrawn: its template is deleted, and it is told."""
        ended = self._ledger.gallery.over(self._clock.utc_s())
        if ended:
            with self._ledger.transaction():
                for token in ended:
                    self._ledger.withdraw(token, self._clock.utc_s())
            self._ledger.wipe()

    def _place(self) -> None:
        """A segment for everybody who has none, in as few segments as there is room for them in."""
        books = self._ledger.gallery
        while waiting := books.waiting(PLACED_AT_ONCE):
            room: dict[str, list[list[int]]] = {}
            for segment in books.segments():
                if segment.people < SEGMENT_PEOPLE:
                    free = SEGMENT_PEOPLE - segment.people
                    room.setdefault(segment.model_id, []).append([free, segment.number])
            places = []
            with self._ledger.transaction():
                for person in waiting:
                    references, rest = divmod(person.bytes - SEALED_BYTES, 4 * TEMPLATE_SIZE)
                    if rest or not 1 <= references <= MAX_REFERENCES:
                        books.leave_out(person.token)  # of a network that this gallery is not for
                        continue
                    free_in = room.setdefault(person.model_id, [])
                    if not free_in:
                        free_in.append([SEGMENT_PEOPLE, books.begin_segment(person.model_id)])
                    widest = max(free_in)
                    keep_until = msgspec.json.decode(person.consent, type=ConsentMessage).keep_until
                    places.append((person.token, widest[1], keep_until.timestamp()))
                    widest[0] -= 1
                    if not widest[0]:
                        free_in.remove(widest)
                books.place(places)

    def _publish_segments(self, epoch: Epoch) -> bool:
        """Write the segments that are not out as they should be.

        A new epoch is one release, so that nobody gets half of two; else there is one every `AT_ONCE`.
        """
        listed = self.repository.state().listed("gallery")
        segments = {_path(epoch, one): one for one in self._ledger.gallery.segments() if one.people}
        stale = [
            (path, one)
            for path, one in segments.items()
            if path not in listed or (listed[path].custom or {}).get("version") != one.version
        ]
        change: dict[str, TargetFile | None] = dict.fromkeys(listed.keys() - segments.keys())
        is_new = any(not path.startswith(f"gallery/{epoch.id}/") for path in listed)
        released = bool(stale or change)
        for number, (path, segment) in enumerate(stale, 1):
            change[path] = self.repository.put(path, self._sealed(epoch, segment))
            if number % AT_ONCE == 0:
                self._tell_deletions()
                if not is_new:
                    self.repository.release({"gallery": change})
                    change = {}
            if self._stopping():
                break
        if change and not (is_new and self._stopping()):
            self.repository.release({"gallery": change})
        return released

    def _sealed(self, epoch: Epoch, segment: Segment) -> Target:
        """A segment as it is now, in `epoch`; the templates that were opened for it are overwritten."""
        people = self._ledger.people_in(segment.number)
        records = [self._record(epoch, person) for person in people]
        try:
            sealed = seal(epoch.key("segment"), Place(epoch.id, segment.number, segment.version), records)
        finally:
            for record in records:
                record.wipe()
        custom = {
            "region": epoch.region,
            "epoch": epoch.number,
            "version": segment.version,
            "people": len(records),
            "model_id": segment.model_id,
            "references": sum(len(record.references) for record in records),
        }
        return Target(bytes(sealed), custom)

    def _record(self, epoch: Epoch, person: Person) -> PayerRecord:
        """A person as kiosks know them, their references turned."""
        plain = self._templates.open(person.token, person.template or b"").reshape(-1, TEMPLATE_SIZE)
        turned = epoch.turn(plain)
        plain.fill(0.0)
        references = tuple(Reference(Template.of(vector), person.model_id) for vector in turned)
        turned.fill(0.0)
        consent = msgspec.json.decode(person.consent, type=ConsentMessage)
        sealed = person.wishes
        wishes = parse(self._templates.open_bytes(person.token, sealed), WishesMessage) if sealed else None
        return PayerRecord(
            token=person.token,
            masked_name=_printable(person.masked_name),
            masked_account=_printable(person.masked_account),
            digits=wishes.digits if wishes else "",
            consent_ref=person.consent_ref,
            enrolled_at_s=int(person.at),
            references=references,
            keep_until_s=max(math.ceil(consent.keep_until.timestamp()), int(person.at) + 1),
            consent_text=f"{consent.text_version}/{consent.language}",
            by_guardian=consent.guardian is not None,
            limits=Limits(wishes.per_payment, wishes.per_person_day) if wishes else NO_LIMITS,
        )

    # --- the other lanes --------------------------------------------------------------------------------

    def _tell_deletions(self) -> bool:
        """Tombstones, in a release of their own. Whether there were any to tell, or to tell no more."""
        region = self._epoch().region
        told = self._told(region)
        since = self._clock.utc_s() - TOMBSTONE_S
        tokens = tuple(
            _Tombstone(token=token, at=datetime.fromtimestamp(int(at), UTC))
            for token, at in self._ledger.gallery.withdrawn(since)
        )
        if told.version and told.tokens == tokens:
            return False
        content = encode(_Tombstones(version=told.version + 1, tokens=tokens))
        path = f"tombstones/{region}.json"
        return self.repository.release({"tombstones": {path: self.repository.put(path, Target(content))}})

    def _told(self, region: str) -> _Tombstones:
        target = self.repository.state().listed("tombstones").get(f"tombstones/{region}.json")
        if target is None:
            return _Tombstones(version=0, tokens=())
        return msgspec.json.decode(self.repository.content(target), type=_Tombstones)

    def _texts(self) -> dict[str, TargetFile | None]:
        """Consent texts: what ships, and in its place or beside it what lies in the folder `consent`."""
        wanted: dict[str, Target] = {}
        for folder in (self._assets / "consent", self._folder / "consent"):
            with explained(folder):
                for path in sorted(folder.glob("*/*.json")):
                    wanted[f"consent/{path.parent.name}/{path.name}"] = Target(path.read_bytes())
        return self._changed("texts", wanted)

    def _models(self, files: bool | None) -> dict[str, TargetFile | None]:
        """The networks of the manifest: a card each, and the file where that is wanted."""
        folder, listed = self._assets / "models", self.repository.state().listed("models")
        manifest = read_json(folder / "manifest.json", _Manifest) or _Manifest(())
        if files is None:
            files = any(not path.endswith(".json") for path in listed)
        wanted: dict[str, Target] = {}
        for raw in manifest.models:
            card = msgspec.json.decode(raw, type=_Card)
            wanted[f"models/{card.id}.json"] = Target(msgspec.json.format(bytes(raw)))
            path = folder / card.file
            with explained(path):
                if files and path.is_file():
                    wanted[f"models/{Path(card.file).name}"] = Target(path.read_bytes(), {"id": card.id})
        return self._changed("models", wanted)

    def _changed(self, lane: str, wanted: dict[str, Target]) -> dict[str, TargetFile | None]:
        """What is to be written or dropped so that a lane publishes what is wanted."""
        listed = self.repository.state().listed(lane)
        change: dict[str, TargetFile | None] = dict.fromkeys(listed.keys() - wanted.keys())
        for path, target in wanted.items():
            if listed.get(path) != described(path, target):
                change[path] = self.repository.put(path, target)
        return change

    # --- inside -----------------------------------------------------------------------------------------

    def _epoch(self) -> Epoch:
        epochs = self._epochs.all()
        if not epochs or not self.repository.exists:
            raise OperatorError(
                "nothing is published here",
                where=str(self.repository.folder),
                do="Run `kiosk sandbox repository init`.",
            )
        return epochs[0]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        path = self._folder / "repository.lock"
        with explained(path), alone(path):
            yield


def _path(epoch: Epoch, segment: Segment) -> str:
    return f"gallery/{epoch.id}/{segment.number}.seg"


def _printable(text: str) -> str:
    """A text for a screen; whoever enrolled it may have had anything in the account's last character."""
    return text if text.isprintable() else "*"
