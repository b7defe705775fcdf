"""The kiosk's key on a PKCS#11 token (`class=hardware`), and how one follows another.

A key signs for 90 days. Its successor is made before that, enrolled with the acquirer, then signs; the old
one stays for 7 days more, so that two ids live at once and nothing has to happen at one moment. Which key
is which stands in `keys.json`, replaced in one step; the keys themselves never leave the token.

    make -> current;  prepare -> current + next;  activate -> current + old;  retire -> current
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kiosk.devices.ecdsa import raw_signature
from kiosk.devices.token import Token
from kiosk.domain.errors import OperatorError
from kiosk.files import write_whole

__all__ = ["DUE_S", "LIFETIME_S", "OVERLAP_S", "Entry", "Keys", "TokenKey", "TokenRing"]

DAY_S: Final = 86_400
LIFETIME_S: Final = 90 * DAY_S
OVERLAP_S: Final = 7 * DAY_S
DUE_S: Final = LIFETIME_S - OVERLAP_S
"""Age at which a successor should be made."""
ID_BYTES: Final = 16
DERIVED: Final = b"facepay-kiosk/derive/v1\0"
STATE_NAME: Final = "keys.json"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pair on the token. `object` is its CKA_ID (hex), `public` its SubjectPublicKeyInfo, `until_s` the
    end of an old key's time; times are seconds since 1970. `key_id` is empty until the pair is there."""

    object: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    made_s: int
    key_id: str = ""
    public: bytes = b""
    until_s: int = 0


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`keys.json`: the key that signs, its successor before it signs, its predecessor for a while."""

    version: Literal[1] = 1
    current: Entry | None = None
    next: Entry | None = None
    old: Entry | None = None


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One pair on the token; implements `KeyPort`. Thread-safe."""

    token: Token
    entry: Entry
    key_class: Literal["dev", "hardware"] = "hardware"
    _public: ec.EllipticCurvePublicKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = serialization.load_der_public_key(self.entry.public)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("not a P-256 key")
        object.__setattr__(self, "_public", key)

    @property
    def key_id(self) -> str:
        return self.entry.key_id

    def public_key_der(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return self.entry.public

    def sign(self, message: bytes) -> bytes:
        """r || s, 64 bytes, of ECDSA P-256 over SHA-256 of `message`; s is the smaller one.

        Raises:
            OperatorError: the token is away, locked, or signed something else: its own public key is asked.
        """
        raw = self.token.sign(bytes.fromhex(self.entry.object), hashlib.sha256(message).digest())
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        try:
            self._public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise OperatorError(
                f"it signed with another key than {self.key_id}",
                where=f"token {self.token.label}",
                do="Put back the token that this data folder belongs to.",
            ) from None
        return raw_signature(r, s)

    def derive(self, purpose: str) -> bytes:
        """HMAC-SHA256 on the token, under a secret of its own that outlives every rotation; 32 bytes."""
        return self.token.mac(DERIVED + purpose.encode())

    def check(self) -> None:
        """OperatorError when the key can't sign now."""
        self.token.check(bytes.fromhex(self.entry.object))


class TokenRing:
    """The keys of the data folder. Processes take turns to change them, and see what others did."""

    def __init__(self, folder: Path, token: Token) -> None:
        self.folder, self.token = folder, token
        self._path = folder / STATE_NAME
        self._seen: tuple[tuple[int, int, int], Keys] | None = None

    # --- which is which ---------------------------------------------------------------------------------

    def keys(self) -> Keys:
        """What `keys.json` says now; empty when it is not there.

        Raises:
            OperatorError: unreadable or damaged.
        """
        try:
            found = self._path.stat()
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._seen is None or self._seen[0] != mark:
                self._seen = (mark, msgspec.json.decode(self._path.read_bytes(), type=Keys))
        except FileNotFoundError:
            return Keys()
        except OSError as error:
            raise OperatorError(
                f"cannot be read ({error.strerror})", where=str(self._path), do="Run as the folder's owner."
            ) from None
        except (msgspec.MsgspecError, UnicodeError):
            raise OperatorError(
                "damaged", where=str(self._path), do="Restore it from a backup; the keys are on the token."
            ) from None
        return self._seen[1]

    def current(self) -> TokenKey:
        """The key that signs now: hold on to it for one message, not for ever.

        Raises:
            OperatorError: none was made, or `keys.json` can't be used.
        """
        entry = self.keys().current
        if entry is None or not entry.key_id:
            raise OperatorError(
                "this kiosk has no key on its token yet",
                where=str(self._path),
                do="Run `kiosk keys make`, then `kiosk keys csr`.",
            )
        return self.key(entry)

    def key(self, entry: Entry) -> TokenKey:
        try:
            return TokenKey(self.token, entry)
        except ValueError:
            raise OperatorError("damaged", where=str(self._path), do="Restore it from a backup.") from None

    # --- how they follow each other ---------------------------------------------------------------------

    def make(self, now_s: float) -> TokenKey:
        """The first key, with the sealing secret; refused when there is one."""
        with self._turn() as keys:
            if keys.current is not None and keys.current.key_id:
                raise OperatorError(
                    f"there is a key already: {keys.current.key_id}",
                    where=str(self._path),
                    do="`kiosk keys rotate` brings its successor.",
                )
            self.token.make_seal()
            entry = self._complete(keys, "current", keys.current, now_s)
            return self.key(entry)

    def prepare(self, now_s: float) -> TokenKey:
        """The successor, made and not yet signing; the same one until `activate`.

        Raises:
            OperatorError: the last change is not over: three ids would live at once.
        """
        with self._turn() as keys:
            if keys.old is not None and keys.old.until_s > now_s:
                days = (keys.old.until_s - now_s) / DAY_S
                raise OperatorError(
                    f"the key before still lives, for {days:.1f} days",
                    where=keys.old.key_id,
                    do="Two keys live at once, not three: wait until then.",
                )
            return self.key(self._complete(keys, "next", keys.next, now_s))

    def activate(self, now_s: float) -> Keys:
        """The successor signs from now, the one before is `old` for the overlap; ask the acquirer first."""
        with self._turn() as keys:
            if keys.next is None or not keys.next.key_id or keys.current is None:
                raise OperatorError("no successor was made", do="Run `kiosk keys rotate`.")
            self.token.check(bytes.fromhex(keys.next.object))
            if keys.old is not None:
                self.token.destroy(bytes.fromhex(keys.old.object))
            old = msgspec.structs.replace(keys.current, until_s=int(now_s) + OVERLAP_S)
            return self._write(Keys(current=keys.next, old=old))

    def retire(self, now_s: float) -> str:
        """Destroy the old key when its time is over; its id comes back, "" when there was nothing to do."""
        with self._turn() as keys:
            if keys.old is None or keys.old.until_s > now_s:
                return ""
            # From the token first: a cut leaves an entry without a key, and this is done again.
            self.token.destroy(bytes.fromhex(keys.old.object))
            self._write(msgspec.structs.replace(keys, old=None))
            return keys.old.key_id

    # --- inside -----------------------------------------------------------------------------------------

    def _complete(
        self, keys: Keys, place: Literal["current", "next"], begun: Entry | None, now_s: float
    ) -> Entry:
        """Intention first, pair second, result third: after a cut the same pair is taken up, none is lost."""
        if begun is not None and begun.key_id:
            return begun
        if begun is None:
            begun = Entry(object=secrets.token_hex(ID_BYTES), made_s=int(now_s))
            keys = self._write(msgspec.structs.replace(keys, **{place: begun}))
        cka_id = bytes.fromhex(begun.object)
        public = self.token.public_key(cka_id)
        if public is None:
            self.token.destroy(cka_id)  # half a pair, if anything
            public = self.token.make_pair(cka_id)
        key_id = "hw-" + hashlib.sha256(public).hexdigest()[:32]
        made = msgspec.structs.replace(begun, key_id=key_id, public=public)
        self._write(msgspec.structs.replace(keys, **{place: made}))
        return made

    @contextmanager
    def _turn(self) -> Iterator[Keys]:
        try:
            handle = os.open(self.folder / "keys.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield self.keys()
        finally:
            os.close(handle)

    def _write(self, keys: Keys) -> Keys:
        """In one step, and on the disk before anything is done that rests on it."""
        try:
            write_whole(self._path, msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
        except OSError as error:
            raise self._unwritable(error) from None
        return keys

    def _unwritable(self, error: OSError) -> OperatorError:
        return OperatorError(
            f"cannot be written ({error.strerror})",
            where=str(self._path),
            do="Free the disk, or run as the folder's owner.",
        )
