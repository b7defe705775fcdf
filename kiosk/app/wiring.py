"""Wiring: the one place where parts are made and joined; everything else is handed what it needs.

`open_base` is a kiosk's data folder with what lives in it: configuration, key, gallery, trust in the
acquirer, policy. `open_kiosk` adds journal, workers and the kernel: a kiosk that can take a payment.

    data folder:  kiosk.toml  device.key | keys.json  tls.pem  acquirer.json  scheme.json
                  policy.jws  policy.mark  limits.json  audit.jsonl  audit.mark
                  gallery/  gallery.mark  journal.sqlite
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from kiosk.acquirer.client import AcquirerClient, Lost, PolicyReceived, Unsent
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.licence import Scheme, load_roots
from kiosk.acquirer.messages import Terminal, policy_request
from kiosk.acquirer.policy import MARK_PURPOSE, PolicyStore
from kiosk.acquirer.tls import Tls, TlsIdentity, TlsTrust
from kiosk.acquirer.trust import Trust, load_trust
from kiosk.app.audit import Audit, Value, What
from kiosk.app.camera import Cameras
from kiosk.app.config import Config, default_data_dir, load
from kiosk.app.freshness import Freshness
from kiosk.app.gallery_keeper import GalleryKeeper
from kiosk.app.kernel import Kernel, LookChallenge, LookDone, Looker, People, Setting
from kiosk.app.limits import MerchantLimits
from kiosk.app.look import CameraLooker
from kiosk.app.membership import Retention
from kiosk.app.offline import OfflineSales
from kiosk.app.outbox import Outbox
from kiosk.app.people import EnrolledPeople
from kiosk.app.staff import StaffStore
from kiosk.app.withdrawals import Withdrawals
from kiosk.app.workers import AcquirerWorkers, SystemClock
from kiosk.assets import assets_dir
from kiosk.consent_texts import ConsentTexts
from kiosk.devices.key_software import SoftwareKey
from kiosk.devices.tls_key import TlsKey
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import Policy
from kiosk.domain.payment import Answer, Order, Result
from kiosk.domain.ports import KeyPort, TillLink
from kiosk.domain.staff import Action
from kiosk.files import is_there
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.template import PayerRecord
from kiosk.vision.look import LookRules
from kiosk.vision.models import Manifest, Role, added_in, check_mode, load_manifest, thresholds_of
from kiosk.vision.pipeline import Vision

if TYPE_CHECKING:
    from kiosk.devices.key_token import TokenRing

__all__ = ["Base", "Books", "Kiosk", "NoTill", "open_base", "open_books", "open_kiosk", "open_money"]

TRUST_PLACES: Final = ("acquirer.json", "sandbox/acquirer.json")
"""Where the acquirer's address and keys are looked for in the data folder; the second is a sandbox's own."""
SCHEME_PLACES: Final = ("scheme.json", "sandbox/scheme.json")
"""The same for the scheme's roots."""


class Base:
    """A kiosk's data folder. Parts are made when they are first asked for, and once."""

    def __init__(
        self, data_dir: Path, config: Config, warn: Callable[[str], None] = lambda line: None
    ) -> None:
        self.data_dir, self.config, self.warn = data_dir, config, warn
        self.clock = SystemClock()
        self._tls_made: tuple[tuple[int, int, int] | None, Tls] | None = None

    # --- camera and vision ---

    @cached_property
    def manifest(self) -> Manifest:
        """The networks that run here, as they were listed at the first call."""
        return load_manifest(added=added_in(self.data_dir))

    @cached_property
    def cameras(self) -> Cameras:
        """Every camera that this kiosk opens, under the pin and the guard."""
        return Cameras(self.config, self.data_dir)

    def vision(self) -> Vision:
        """The interpreters, every file hash-checked; for one thread. Production wants leave to sell each."""
        check_mode(self.manifest, self.config.mode, self.config.models.accept_without_leave)
        return Vision(self.manifest, threads=self.config.models.interpreter_threads)

    def look_rules(self) -> LookRules:
        return LookRules.of(self.manifest)

    def embedding_id(self) -> str:
        return self.manifest.card(Role.EMBEDDING).id

    # --- key and gallery ---

    @cached_property
    def key(self) -> KeyPort:
        """This kiosk's key as it was at the first call; one in a file is made when the folder is new."""
        return self.ring.current() if self.ring else SoftwareKey.load_or_create(self.data_dir / "device.key")

    @cached_property
    def ring(self) -> TokenRing | None:
        """The keys on the token; None when the key is in a file."""
        where = self.config.key
        if where.store == "file":
            return None
        from kiosk.devices.key_token import TokenRing  # PKCS#11 is a tenth of a second to load
        from kiosk.devices.token import PinFile, Token, load_module

        token = Token(
            lambda: load_module(where.module), where.token_label, lambda: PinFile.find(where.pin_file)
        )
        return TokenRing(self.data_dir, token)

    def _key_now(self) -> KeyPort:
        """The key that signs now: `kiosk keys rotate` may have changed it beside this process."""
        return self.ring.current() if self.ring else self.key

    def check_key(self) -> None:
        """OperatorError when the key that signs now can't: no key, or its token is away or locked."""
        self._key_now().check()

    def acquirer_takes(self, key: KeyPort) -> str:
        """Ask the acquirer for its policy under `key`: empty when it answers that, else why not."""
        match self.client(key).send(policy_request()):
            case PolicyReceived():
                return ""
            case Unsent(why) | Lost(why):
                return why
        return "it does not give a policy"

    @cached_property
    def enrolled(self) -> GalleryKeeper:
        """Who is enrolled, in memory and on disk; `enrolled.store` is what a sync changes."""
        return GalleryKeeper(self.data_dir, lambda: self.key, self.embedding_id, self.warn)

    @property
    def gallery(self) -> Gallery:
        """Who is enrolled; see `GalleryKeeper.gallery`."""
        return self.enrolled.gallery

    def changed_gallery(self) -> Gallery | None:
        """Follow what other processes did to the gallery; see `GalleryKeeper.changed`."""
        return self.enrolled.changed()

    def enrol(self, record: PayerRecord) -> None:
        """Add a payer, on the disk too; see `GalleryKeeper.enrol`."""
        self.enrolled.enrol(record)

    def forget(self, token: str) -> bool:
        """Delete a payer from memory and disk; False when nobody has that token."""
        return self.enrolled.forget(token)

    @cached_property
    def freshness(self) -> Freshness:
        """Whether the gallery is still in step with the acquirer's."""

        def stored() -> float | None:
            status = self.enrolled.store.status()
            return status.fresh_at_s if status else None

        return Freshness(self.clock, 3600 * self.config.gallery.time_to_live_h, stored)

    # --- acquirer ---

    @cached_property
    def trust(self) -> Trust:
        """The acquirer's address and pinned keys; production wants its TLS pinned too."""
        named = self.config.acquirer.trust_file
        places = [Path(named)] if named else [self.data_dir / place for place in TRUST_PLACES]
        path = next((place for place in places if is_there(place)), None)
        if path is None:
            raise OperatorError(
                "no acquirer is set up here",
                where=str(places[0]),
                do="Copy the acquirer.json that your acquirer (or `kiosk sandbox`) gave you there.",
            )
        trust = load_trust(path)
        if self.config.mode == "production" and trust.tls is None:
            raise OperatorError(
                f"{trust.base_url}: production wants an https address, and tls with a CA or pins",
                where=str(path),
                do="Ask the acquirer for an acquirer.json with both.",
            )
        return trust

    @cached_property
    def tls_key(self) -> TlsKey:
        """This kiosk's end of the line: key and certificate, sealed under its own key."""
        return TlsKey.of(self.data_dir, self.key)

    def _tls(self) -> Tls | None:
        """How the line is secured now: `kiosk keys tls install` may have brought a certificate meanwhile.

        None for an address without TLS.
        """
        if not self.trust.base_url.startswith("https:"):
            return None
        mark = _mark(self.tls_key.file)
        if self._tls_made is None or self._tls_made[0] != mark:
            own = TlsIdentity(self.tls_key.file, self.tls_key.password) if mark else None
            self._tls_made = mark, Tls(self.trust.tls or TlsTrust(), own)
        return self._tls_made[1]

    def secure(self, sock: socket.socket, host: str) -> ssl.SSLSocket:
        """TLS as with the acquirer, for other files that it serves. OSError: no handshake."""
        tls = self._tls()
        if tls is None:
            raise ValueError("the acquirer's address is not https")
        return tls.wrap(sock, host)

    def client(self, key: KeyPort | None = None) -> AcquirerClient:
        """A client that signs with `key`, or with the one that signs now: for one call, not for ever."""
        return AcquirerClient(
            self.trust.base_url,
            key or self._key_now(),
            self.trust.acquirer_keys,
            self.clock,
            tls=self._tls(),
            connect_timeout_s=self.config.acquirer.connect_timeout_s,
            answer_timeout_s=self.config.acquirer.answer_timeout_s,
        )

    @cached_property
    def limits(self) -> MerchantLimits:
        """The merchant's own caps, as they are now."""
        return MerchantLimits(
            self.data_dir, self.config.limits.layer(), self.config.store.currency, self.audit
        )

    @cached_property
    def policies(self) -> PolicyStore:
        """The policy of this data folder, under the keys that are pinned now."""
        secret = self.key.derive(MARK_PURPOSE)
        return PolicyStore(self.data_dir / "policy.jws", self.trust.policy_keys, self.scheme, secret)

    @cached_property
    def scheme(self) -> Scheme:
        """Whose licences count here. Without a scheme.json nobody's; production believes no sandbox's."""
        production, named = self.config.mode == "production", self.config.acquirer.scheme_file
        places = [Path(named)] if named else [self.data_dir / place for place in SCHEME_PLACES]
        if production and not named:
            places = places[:1]
        path = next((place for place in places if named or is_there(place)), None)
        return Scheme({} if path is None else load_roots(path), sandbox=not production)

    def stored_policy(self) -> Policy | None:
        """The last policy that was verified and kept, if it is still believed; it may have expired."""
        policy = self.policies.load(self.clock.utc_s())
        if self.policies.problem:
            self.warn(self.policies.problem)
        return policy

    def accept_policy(self, jws: bytes) -> Policy:
        """Verify a policy that came and keep it; see `PolicyStore.accept`. A new version is in the trail."""
        before = self.policies.newest
        policy = self.policies.accept(jws, self.clock.utc_s())
        if policy.version != before:
            self.note("policy", version=policy.version, before=before)
        return policy

    def fetch_policy(self) -> str:
        """Ask the acquirer for its policy and keep it; empty when it came, else why not."""
        reply = self.client().send(policy_request())
        match reply:
            case PolicyReceived(jws):
                try:
                    self.accept_policy(jws)
                except ProtocolError as error:
                    return f"its policy is refused: {error}"
                return ""
            case Lost(code="unknown_key"):
                raise OperatorError(
                    f"the acquirer does not know this kiosk's key {self._key_now().key_id}",
                    where=self.trust.base_url,
                    do="Let it register the key, or put back the right one; nothing was charged.",
                )
            case Lost(code="key_class"):
                raise OperatorError(
                    f"the acquirer does not take a software key ({self.key.key_id})",
                    where=self.trust.base_url,
                    do='Use one on a token (key.store = "token"); nothing was charged.',
                )
            case Lost(code="certificate" | "terminal", why=why):
                raise OperatorError(
                    f"the acquirer does not take this kiosk's TLS certificate ({why})",
                    where=self.trust.base_url,
                    do="Run `kiosk keys tls csr` and have it certified anew; nothing was charged.",
                )
            case Unsent(why) | Lost(why):
                return why
        return "it does not give a policy"

    # --- the rest ---

    @cached_property
    def audit(self) -> Audit:
        """The trail of who did what here. `audit.note` comes before a change, which waits for it."""
        return Audit(self.data_dir, self.key.derive)

    def note(self, what: What | Action, *, staff: str = "", payer: str = "", **values: Value) -> None:
        """Into the trail what happens in any case, such as a deletion: a trail that refuses is told, no more.

        `payer`: a token, of which the mark is written; `values`: numbers and short texts.
        """
        try:
            self.audit.note(what, at_s=self.clock.utc_s(), staff=staff, payer=payer, **values)
        except OperatorError as error:
            self.warn(f"{what} is not in the audit trail: {error}")

    @cached_property
    def staff(self) -> StaffStore:
        """Who may approve what here."""
        zone = ZoneInfo(self.config.store.timezone)
        return StaffStore(self.data_dir, self.key.derive, self.clock, zone=zone)

    @cached_property
    def consent_texts(self) -> ConsentTexts:
        """What may be agreed to here: the texts that the acquirer published, then those that ship."""
        return ConsentTexts([self.data_dir / "consent", assets_dir() / "consent"])

    @cached_property
    def withdrawals(self) -> Withdrawals:
        """Withdrawals of consent that the acquirer has not confirmed."""
        return Withdrawals(self.data_dir)

    @property
    def has_acquirer(self) -> bool:
        """Whether one was named here, whatever its file says."""
        named = self.config.acquirer.trust_file
        return bool(named) or any(is_there(self.data_dir / place) for place in TRUST_PLACES)

    def journal(self) -> Journal:
        return Journal(self.data_dir / "journal.sqlite")

    def terminal(self) -> Terminal:
        store = self.config.store
        return Terminal(
            merchant_id=store.merchant_id,
            store_id=store.store_id,
            terminal_id=store.terminal_id,
            mode=self.config.mode,
            payee=store.payee,
        )

    def setting(self, policy: Policy | None) -> Setting:
        return Setting(
            terminal=self.terminal(),
            policy=policy,
            merchant=self.config.limits.layer(),
            thresholds=thresholds_of(self.manifest.card(Role.EMBEDDING)),
            timezone=ZoneInfo(self.config.store.timezone),
        )


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Another one for every file that is put in the place of `path`; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class NoTill:
    """A stand-alone kiosk: nobody else waits for the outcome."""

    def concluded(self, order: Order, ref: str, result: Result, answer: Answer) -> None:
        """Nothing to do."""

    def handed_back(self, order: Order) -> None:
        """Nothing to do."""

    def not_to_be_paid(self, order: Order) -> None:
        """Nothing to do."""


class NoCamera:
    """Nobody is looked at."""

    def start(self, look: int, tell: Callable[[LookDone | LookChallenge], None]) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class Kiosk:
    """A kiosk that can take payments; `looker` is there when a camera was named."""

    base: Base
    kernel: Kernel
    looker: CameraLooker
    people: EnrolledPeople
    journal: Journal
    offline: OfflineSales
    policy_problem: str

    @property
    def clock(self) -> SystemClock:
        return self.base.clock


@dataclass(frozen=True, slots=True)
class Books:
    """A kiosk's money without its eyes: kernel, journal and outbox; `policy_problem`: why no policy came."""

    base: Base
    kernel: Kernel
    journal: Journal
    outbox: Outbox
    offline: OfflineSales
    policy_problem: str


@contextmanager
def open_base(
    data_dir: Path | None,
    config: Path | None,
    warn: Callable[[str], None] = lambda line: None,
    *,
    begins: bool = False,
) -> Iterator[Base]:
    """The data folder and its configuration. `begins`: a new folder is made, for its owner only.

    Whoever asks about a kiosk, or about money, does not begin one: a mistyped folder would say that all is
    well. `warn` is told, one line each, what was mended on the way and needs a person's eye.

    Raises:
        OperatorError: there is no such folder, it can't be made or read, or the configuration is wrong.
    """
    folder = data_dir or default_data_dir()
    if not begins and not is_there(folder):
        raise OperatorError("there is no such data folder", where=str(folder), do="Check --data-dir.")
    settings = load(config, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OperatorError(
            f"the data folder cannot be made ({error.strerror})", where=str(folder), do="Use --data-dir."
        ) from None
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        raise OperatorError("the data folder may not be read", where=str(folder), do="Run as its owner.")
    yield Base(folder, settings, warn)


@contextmanager
def open_kiosk(base: Base, *, camera: str | None = None, till: TillLink | None = None) -> Iterator[Kiosk]:
    """Everything joined: a kiosk that can look and take payments."""
    source = camera or base.config.camera.source
    looker = CameraLooker(
        lambda: base.cameras.open_source(source),
        base.vision(),
        base.look_rules(),
        mode=base.config.mode,
        model_ids=tuple(card.id for card in base.manifest.models),
        always=base.config.vision.challenge == "always",
    )
    base.enrolled.store.tidy()
    retention = Retention(base, lambda: people.take(base.gallery))
    people = EnrolledPeople(base.gallery, base.changed_gallery)
    retention.tick()
    with _open_kernel(base, looker, people, till or NoTill()) as books:
        try:
            base.enrolled.check_follows(books.journal)
            books.kernel.on_tick.append(retention.tick)
            books.kernel.gallery_is_stale = base.freshness.is_stale
            yield Kiosk(
                base, books.kernel, looker, people, books.journal, books.offline, books.policy_problem
            )
        finally:
            looker.close()


@contextmanager
def open_money(base: Base) -> Iterator[Kernel]:
    """The kernel without camera and gallery: what is open can be finished also where those are broken."""
    with open_books(base) as books:
        yield books.kernel


@contextmanager
def open_books(base: Base) -> Iterator[Books]:
    """The same with journal and outbox: what comes after a sale."""
    with _open_kernel(base, NoCamera(), EnrolledPeople(Gallery()), NoTill()) as books:
        yield books


@contextmanager
def _open_kernel(base: Base, looker: Looker, people: People, till: TillLink) -> Iterator[Books]:
    """Journal (recovered), policy (fetched when it can be), workers, kernel and outbox."""
    with base.journal() as journal:
        problem = base.fetch_policy()
        workers = AcquirerWorkers(base.client)
        kernel = Kernel(
            base.setting(base.stored_policy()),
            clock=base.clock,
            journal=journal,
            acquirer=workers,
            looker=looker,
            people=people,
            till=till,
            accept_policy=base.accept_policy,
            is_over=base.policies.is_over,
            check_key=base.check_key,
        )
        kernel.merchant = base.limits.in_force
        offline = OfflineSales(
            journal,
            base.clock,
            own=base.config.offline.setting(),
            setting=lambda: kernel.setting,
            merchant=kernel.merchant,
            key=base._key_now,
        )
        kernel.offline = offline.accept
        outbox = Outbox(journal, workers, base.clock, kernel.post, base.withdrawals)
        kernel.on_tick.append(outbox.tick)
        try:
            yield Books(base, kernel, journal, outbox, offline, problem)
        finally:
            workers.close()
