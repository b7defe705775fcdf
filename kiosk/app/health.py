"""Self-test: each part of the kiosk, green, amber or red, with what to do.

A check never raises and never changes anything that lasts; what it finds is a line for a technician.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from kiosk.acquirer.client import Unsent
from kiosk.acquirer.journal import InUse
from kiosk.app.camera import REFUSALS_NAME, Refusals
from kiosk.app.health_gallery import gallery_found
from kiosk.app.health_sync import sync_found
from kiosk.app.memory import exposure
from kiosk.app.till import till_key_file
from kiosk.app.wiring import Base
from kiosk.assets import assets_dir
from kiosk.devices.cameras import open_source
from kiosk.devices.guard import Check as GuardCheck
from kiosk.devices.guard import Finding, FrameGuard, GuardError, PinState, difference, pin_state
from kiosk.devices.till_tcp import TcpTill
from kiosk.devices.tls_key import DUE_DAYS
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.domain.ports import Mode
from kiosk.frames import FrameSource, SourceInfo, SourceKind
from kiosk.till.channel import KEY_BYTES
from kiosk.till.key import read_key
from kiosk.vision.models import Manifest, read_model, uncleared

if TYPE_CHECKING:
    from kiosk.devices.key_token import TokenRing

__all__ = ["Check", "age_days", "checks"]

Status = Literal["green", "amber", "red"]
MIN_FREE_BYTES: Final = 200 * 1024 * 1024
"""Below it the disk is red: room for weeks of payments (about 4 kB each) and for an update."""
BUILT_S: Final = 1_790_000_000
"""September 2026: a clock that shows less was never set."""


@dataclass(frozen=True, slots=True)
class Check:
    """One part: `detail` is what was found, `action` what to do (empty when green)."""

    name: str
    status: Status
    detail: str
    action: str = ""


def checks(base: Base, camera: str) -> Iterator[Check]:
    """All checks, in the order in which a technician would mend things."""
    config = base.config
    seen = _Seen()
    parts: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("disk", lambda: _disk(base.data_dir)),
        ("clock", _clock),
        ("memory", _memory),
        ("models", lambda: _models(base.manifest)),
        ("model_terms", lambda: _terms(base)),
        ("camera", lambda: _camera(camera, config.mode, seen)),
        ("camera_pin", lambda: _camera_pin(seen.info, base.cameras.pin, config.mode)),
        ("camera_guard", lambda: _camera_guard(seen, base.cameras.refusals)),
        ("key", lambda: _key(base)),
        ("journal", lambda: _journal(base)),
        ("audit", lambda: _audit(base)),
        ("gallery", lambda: _gallery(base)),
        ("gallery_sync", lambda: Check("gallery_sync", *sync_found(base))),
        ("tls", lambda: _tls(base)),
        ("acquirer", lambda: _acquirer(base)),  # brings the policy, where it answers
        ("licence", lambda: _licence(base)),
        ("policy", lambda: _policy(base)),
        ("till_link", lambda: _till_link(base)),
        ("screen", _screen),
    )
    for name, check in parts:
        try:
            yield check()
        except OperatorError as error:
            yield _red(name, error)
        except OSError as error:
            yield Check(name, "red", str(error), _MEND_RIGHTS)


_MEND_RIGHTS: Final = "Run as the data folder's owner, on a disk that can be written."


def _red(name: str, error: OperatorError) -> Check:
    detail = ": ".join(part for part in (error.where, error.what) if part)
    return Check(name, "red", detail, error.do or _MEND_RIGHTS)


def _disk(data_dir: Path) -> Check:
    free = shutil.disk_usage(data_dir).free
    detail = f"{free / 2**30:.1f} GiB free in {data_dir}"
    if not os.access(data_dir, os.W_OK, effective_ids=True):
        return Check("disk", "red", f"{data_dir} may not be written", _MEND_RIGHTS)
    if free < MIN_FREE_BYTES:
        return Check("disk", "red", detail, "Free some space; no payment is taken on a full disk.")
    return Check("disk", "green", detail)


def _clock() -> Check:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < BUILT_S:
        return Check("clock", "red", shown, "Set the clock (timedatectl); signatures are valid for a minute.")
    return Check("clock", "green", shown)


def _memory() -> Check:
    """Templates are in the clear in memory alone: by which ways it could be read, or reach a disk."""
    ways = exposure()
    if ways:
        return Check("memory", "amber", "; ".join(ways), _CLOSE_MEMORY)
    return Check("memory", "green", "no core dumps, closed to other processes, no swap on a disk")


_CLOSE_MEMORY: Final = (
    "Switch swap off (swapoff -a, and in /etc/fstab); the unit keeps the kiosk itself out of it "
    "(MemorySwapMax=0, LimitMEMLOCK=infinity)."
)


def _models(manifest: Manifest) -> Check:
    for card in manifest.models:
        read_model(card, manifest.home(card))
    detail = f"{len(manifest.models)} files match the manifest in {assets_dir()}"
    added = [f"{card.role} {card.id}" for card in manifest.models if card.id in manifest.added]
    return Check("models", "green", f"{detail}; added: {', '.join(added)}" if added else detail)


def _terms(base: Base) -> Check:
    config = base.config
    try:
        unclear = [card.id for card in uncleared(base.manifest, config.models.accept_without_leave)]
    except OperatorError:  # `models` says why
        return Check("model_terms", "amber", "unavailable: no list of models", "Mend the models first.")
    if not unclear:
        return Check(
            "model_terms", "green", "every model may be used commercially, or the operator cleared it"
        )
    return Check(
        "model_terms",
        "red" if config.mode == "production" else "amber",
        f"no clear leave to sell, or added here: {', '.join(unclear)}",
        "Production refuses them until models.accept_without_leave names each.",
    )


@dataclass(slots=True)
class _Seen:
    """What a short look at the camera found, for the checks after it; `info` is None when it did not open."""

    info: SourceInfo | None = None
    frames: int = 0
    evidence: Mapping[GuardCheck, Finding] = field(default_factory=dict)
    refusal: GuardError | None = None


PROBE_FRAMES: Final = 70
"""Enough for every check of the guard; 2.3 s of a camera."""
PROBE_S: Final = 4.0


def _camera(camera: str, mode: Mode, seen: _Seen) -> Check:
    source = open_source(camera)  # unguarded, to tell also of a camera that would not be let in
    try:
        source.open()
        try:
            size = _probe(source, seen)
        finally:
            source.close()
    except OperatorError as error:
        found = _red("camera", error)
        if mode not in ("demo", "test"):
            return found
        sample = assets_dir() / "demo" / "probe" / "stranger.jpg"
        return replace(
            found, status="amber", action=f"{found.action.rstrip('.')}. Without one: --camera {sample}"
        )
    name = source.info.name
    if not size:
        return Check("camera", "red", f"{name} gives no picture", "Check the cable; try another.")
    virtual = source.info.identity.virtual if source.info.identity else ""
    if virtual:
        status: Status = "amber" if mode in ("demo", "test") else "red"
        return Check("camera", status, f"{name}, {size}: {virtual}", "Production wants a camera.")
    return Check("camera", "green", f"{name}, {size}")


def _probe(source: FrameSource, seen: _Seen) -> str:
    """Look at an open source for a moment, under the guard; the size of its pictures, empty without one."""
    size, guard, until = "", None, time.monotonic() + PROBE_S
    most = PROBE_FRAMES if source.info.kind is SourceKind.LIVE else 1
    try:
        while seen.frames < most and (left_s := until - time.monotonic()) > 0:
            frame = source.read(left_s)
            seen.info = source.info
            if frame is None:
                break
            guard, size = guard or FrameGuard(source.info), f"{frame.width} x {frame.height}"
            seen.frames += 1
            guard.admits(frame)
    except GuardError as refusal:
        seen.refusal = refusal
    if guard is not None:
        seen.evidence = guard.evidence
    return size


def _camera_pin(info: SourceInfo | None, pin: str, mode: Mode) -> Check:
    if info is None:
        detail = "unavailable: no camera was seen" + (f"; pinned is {pin}" if pin else "")
        return Check("camera_pin", "amber", detail, "Mend the camera first.")
    state = pin_state(info, pin)
    if state is PinState.UNAVAILABLE:
        action = "Look at the kiosk's own camera: a picture or a recording has no identity."
        return Check("camera_pin", "amber", f"{state}: {info.camera_id}", action)
    detail = f"{state}: this camera is {info.camera_id}"
    if state is PinState.OK:
        return Check("camera_pin", "green", detail)
    if info.identity is None:
        return Check("camera_pin", "red" if pin else "amber", f"{detail}: nothing tells who it is", _NAMELESS)
    action = f'If it is the right camera, set in the configuration, under [camera]: pin = "{info.camera_id}"'
    if state is PinState.WRONG:
        return Check("camera_pin", "red", f"{detail}; {difference(info.identity, pin)}", action)
    return Check("camera_pin", "amber" if mode in ("demo", "test") else "red", detail, action)


_NAMELESS: Final = (
    "Use a camera that the kernel describes (/sys/class/video4linux); this one can't be pinned."
)


def _camera_guard(seen: _Seen, refusals: Refusals) -> Check:
    """What the guard found in the probe, and what it refused since anyone looked."""
    refused = ", ".join(f"{check} {count}" for check, count in refusals.counts().items())
    if seen.refusal is not None:
        detail = f"{seen.refusal.check}: {seen.refusal.what}"
        return Check("camera_guard", "red", detail, seen.refusal.do)
    found = [f"{finding}: {', '.join(_with(seen.evidence, finding)) or 'nothing'}" for finding in Finding]
    detail = f"frames {seen.frames}; " + "; ".join(found)
    if refused:
        return Check("camera_guard", "amber", f"{detail}; refused so far: {refused}", _LOOK_INTO_REFUSALS)
    if Finding.PASSED not in seen.evidence.values():
        return Check("camera_guard", "amber", detail, "Nothing can be checked without a camera that runs.")
    return Check("camera_guard", "green", detail)


_LOOK_INTO_REFUSALS: Final = (
    f"Look at what is connected between sensor and kiosk, then delete {REFUSALS_NAME} in the data folder."
)


def _with(evidence: Mapping[GuardCheck, Finding], finding: Finding) -> list[str]:
    """The frames' checks with that finding: kind and pin of the camera have lines of their own."""
    apart = (GuardCheck.CAMERA, GuardCheck.PIN)
    return [str(check) for check, found in evidence.items() if found is finding and check not in apart]


def _key(base: Base) -> Check:
    base.check_key()
    key = base.key
    age = age_days(base)
    detail = f"{key.key_id} ({key.key_class}), {age} days old"
    if base.ring is not None:
        return _token_key(base.ring, detail)
    if base.config.mode == "production":
        return Check("key", "red", detail, "Production needs a key on a token.")
    return Check("key", "amber", detail, _DEV_KEY)


def age_days(base: Base) -> int:
    """Whole days since the key that signs was made; of one in a file: since the file was written."""
    if base.ring is not None:
        made_s: float = base.ring.current().entry.made_s
    else:
        made_s = (base.data_dir / "device.key").stat().st_mtime
    return max(0, int((time.time() - made_s) // 86_400))


def _token_key(ring: TokenRing, detail: str) -> Check:
    from kiosk.devices.key_token import DUE_S, LIFETIME_S

    keys, age_s = ring.keys(), time.time() - ring.current().entry.made_s
    token = ring.token.info()
    detail += f", on {token.manufacturer} {token.model} {token.serial}".rstrip()
    if keys.next is not None and keys.next.key_id:
        return Check("key", "amber", f"{detail}; next {keys.next.key_id}", _ENROL_NEXT)
    if keys.old is not None:
        until = time.strftime("%Y-%m-%d", time.gmtime(keys.old.until_s))
        detail += f"; old {keys.old.key_id} until {until}"
        if keys.old.until_s <= time.time():
            return Check("key", "amber", detail, "Run `kiosk keys rotate`: it destroys the old key.")
    if age_s >= LIFETIME_S:
        return Check("key", "red", f"{detail}, more than 90", _SUCCESSOR)
    if age_s >= DUE_S:
        return Check("key", "amber", detail, _SUCCESSOR)
    return Check("key", "green", detail)


_DEV_KEY: Final = "A software key: the acquirer may refuse it outside demo and test."
_SUCCESSOR: Final = "Run `kiosk keys rotate`: its successor is due."
_ENROL_NEXT: Final = "Give its .csr to the acquirer, then run `kiosk keys rotate` again."


def _journal(base: Base) -> Check:
    try:
        with base.journal() as journal:
            broken = journal.verify()
            still_open, halted = len(journal.open_attempts()), journal.halted
    except InUse:
        return Check("journal", "green", "in use by a running kiosk, which checked it when it started")
    if broken is not None:
        return Check("journal", "red", f"entry {broken} breaks the chain", "Keep the file, call support.")
    if halted:
        return Check("journal", "red", f"entries are missing ({halted})", "Run `kiosk journal recover`.")
    if still_open:
        return Check("journal", "amber", f"{still_open} payments are not final", "Run `kiosk resolve`.")
    return Check("journal", "green", "the chain is whole, nothing is open")


def _gallery(base: Base) -> Check:
    status, detail, action = gallery_found(base)
    return Check("gallery", status, detail, action)


def _audit(base: Base) -> Check:
    lines = len(base.audit.entries())
    return Check("audit", "green", f"{lines} lines, each follows the one before")


def _policy(base: Base) -> Check:
    policy = base.policies.load(time.time())
    if policy is None:
        why = base.policies.problem or "no valid policy of the acquirer is stored"
        return Check(
            "policy", "red", why, "Let the kiosk go online; the check `acquirer` says what it brings."
        )
    until = time.strftime("%Y-%m-%d", time.gmtime(policy.expires_s))
    detail = f"version {policy.version} of {policy.provider} ({policy.licence}), until {until}"
    if base.policies.is_over(policy, time.time()):
        return Check("policy", "red", detail, "Expired: no payment by face until the kiosk was online.")
    currency = base.config.store.currency
    if policy.currency != currency:
        return Check(
            "policy",
            "red",
            f"{detail}, is in {policy.currency}; store.currency is {currency}",
            f'Set store.currency = "{policy.currency}", or ask the acquirer for a policy in {currency}.',
        )
    if not policy.face_allowed:
        note = f": {policy.law_note}" if policy.law_note else ""
        return Check("policy", "amber", detail + note, "Face payment is switched off by the acquirer.")
    capped = _capped(base.config.limits.layer(), policy.ceiling)
    if capped:
        return Check("policy", "amber", f"{detail}; {capped}", "Lower them, or ask the acquirer for more.")
    return Check("policy", "green", detail)


LICENCE_DUE_DAYS: Final = 30
"""So long before its end a licence is amber: its renewal is the provider's work, and takes days."""


def _licence(base: Base) -> Check:
    """Who may take payments by face here, by whose word, and until when."""
    roots = base.scheme.roots
    if not roots:
        return Check("licence", "red", "no scheme's root is known here, so nobody is licensed", _GET_SCHEME)
    if base.policies.load(time.time()) is None or base.policies.licence is None:
        return Check("licence", "red", base.policies.problem or "no licence was seen yet", _ASK_LICENCE)
    terms, root = base.policies.licence.terms, base.policies.licence.root
    until = terms.expires.date().isoformat()
    detail = f"{terms.licence} ({terms.licence_class}) of {terms.provider}, by {root}, until {until}"
    left_days = (terms.expires.timestamp() - time.time()) / 86_400
    if left_days <= 0:
        return Check("licence", "red", f"{detail}: expired", _ASK_LICENCE)
    if left_days <= LICENCE_DUE_DAYS:
        return Check("licence", "amber", f"{detail}: {left_days:.0f} days", _ASK_LICENCE)
    return Check("licence", "green", detail)


_GET_SCHEME: Final = (
    "Put the scheme's scheme.json into the data folder (the scheme publishes it, not your acquirer)."
)
_ASK_LICENCE: Final = (
    "Ask your acquirer for a policy under a licence that holds; until then nobody pays by face."
)


def _capped(merchant: Limits, ceiling: Limits) -> str:
    """The merchant's limits that have no effect, by their keys in the configuration; empty when all have."""
    return ", ".join(
        f"limits.{field.name}_minor = {own} is capped by the acquirer at {cap}"
        for field in fields(Limits)
        if (own := getattr(merchant, field.name)) is not None
        and (cap := getattr(ceiling, field.name)) is not None
        and own > cap
    )


def _tls(base: Base) -> Check:
    """Who is at the two ends of the line to the acquirer, found out by a handshake."""
    address = base.trust.base_url
    if not address.startswith("https:"):
        return Check("tls", "amber", f"{address} is not encrypted", "Production wants an https acquirer.")
    greeted, own = base.client().greet(), base.tls_key.installed()
    if isinstance(greeted, Unsent):
        if not greeted.code:
            return Check("tls", "amber", f"unavailable: {greeted.why}", "Mend the acquirer's line first.")
        over = own is not None and own.until.timestamp() <= time.time()
        code = "own_expired" if greeted.code == "own_refused" and over else greeted.code
        why = f"{greeted.why}, which ended {own.until:%Y-%m-%d}" if own is not None and over else greeted.why
        return Check("tls", "red", f"{address}: {why}", _MEND_TLS[code])
    detail = f"TLS 1.3 in {greeted.ms:.0f} ms; the acquirer's certificate until {greeted.until:%Y-%m-%d}"
    if base.trust.tls is None:
        return Check("tls", "amber", f"{detail}, of any public authority", "Production wants it pinned.")
    if own is None:
        return Check("tls", "amber", f"{detail}; this kiosk shows none", _CERTIFY)
    days = (own.until.timestamp() - time.time()) / 86_400
    detail += f"; this kiosk's, {own.serial} for {own.terminal}, until {own.until:%Y-%m-%d}"
    return Check("tls", "green", detail) if days > DUE_DAYS else Check("tls", "amber", detail, _CERTIFY)


_CERTIFY: Final = "Run `kiosk keys tls csr`, let the acquirer certify it, run `kiosk keys tls install`."
_OTHER_SERVER: Final = (
    "Do not go round this: somebody may stand between. Ask the acquirer whether it changed its certificate, "
    "and take a new acquirer.json from it by another way."
)
_MEND_TLS: Final = {
    "server_untrusted": _OTHER_SERVER,
    "server_pin": _OTHER_SERVER,
    "server_name": "Check base_url in acquirer.json: the certificate is for another host. " + _OTHER_SERVER,
    "server_expired": "Compare this kiosk's clock (timedatectl); if it is right, the acquirer has to renew.",
    "version": "The acquirer, or a box between, must speak TLS 1.3: no payment is sent over less.",
    "own_missing": "Run `kiosk keys tls make` first. " + _CERTIFY,
    "own_expired": "Compare this kiosk's clock (timedatectl). " + _CERTIFY,
    "own_revoked": "Ask the acquirer why; then `kiosk keys tls make`. " + _CERTIFY,
    "own_refused": _CERTIFY,
    "handshake": "Check port and address in acquirer.json: what answers there speaks something else.",
}
"""What a technician does about each `TlsError.code`."""


def _acquirer(base: Base) -> Check:
    started = time.monotonic()
    problem = base.fetch_policy()
    address = base.trust.base_url
    if problem:
        return Check("acquirer", "red", f"{address}: {problem}", "Check the network and that it is running.")
    return Check("acquirer", "green", f"{address} answered in {(time.monotonic() - started) * 1000:.0f} ms")


def _till_link(base: Base) -> Check:
    """Whether a till could reach this kiosk: its key, and the address or port that is to be listened on."""
    where = base.config.till
    if where.link == "off":
        return Check("till_link", "green", "off: no till opens orders here")
    if where.link == "serial":
        detail = f"serial line {where.device}, {where.baud} bits a second"
        if not Path(where.device).is_char_device():
            return Check("till_link", "red", f"{detail}: not there", "Check cable, adapter and till.device.")
        if not os.access(where.device, os.R_OK | os.W_OK, effective_ids=True):
            return Check("till_link", "red", f"{detail}: may not be used", "Add the user to group dialout.")
        return Check("till_link", "green", detail)
    read_key(till_key_file(base))
    detail = f"TCP, {where.address} port {where.port}"
    if not _running(base):
        wire = TcpTill(where.address, where.port, key=bytes(KEY_BYTES), poi_id="", clock=base.clock)
        try:
            wire.open(lambda request, till: None)
        finally:
            wire.close()
    return Check("till_link", "green", detail)


def _running(base: Base) -> bool:
    """Whether a kiosk runs on this data folder now: then it is the one that listens."""
    try:
        with base.journal():
            return False
    except InUse:
        return True


def _screen() -> Check:
    try:
        from kiosk.ui.window import fonts_dir, has_display
    except ImportError as error:
        return Check("screen", "red", f"Qt does not load: {error}", "Run `make setup`.")
    if not any(fonts_dir().glob("*.[ot]tf")):
        return Check("screen", "red", f"there are no fonts in {fonts_dir()}", "Install the kiosk again.")
    if not has_display():
        return Check(
            "screen",
            "amber",
            "Qt and fonts load; no display here",
            "Start `kiosk run` on a desktop, or with QT_QPA_PLATFORM=eglfs: it draws on the panel itself.",
        )
    return Check("screen", "green", "Qt and fonts load")
