"""A PKCS#11 token: the one place that talks to it, and finds it again when it was gone.

Keys are made on it, sensitive and not extractable, and checked to be so. Every call holds the module's lock:
a module is initialised without threads of its own. A token that is away, locked or refuses is one
`OperatorError`; the next call tries again, except with a PIN that was wrong: a token counts those.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from kiosk.domain.errors import OperatorError

__all__ = ["CREDENTIAL", "Module", "PinFile", "Token", "TokenInfo", "load_module"]

CREDENTIAL: Final = "token-pin"
"""Name of the systemd credential that holds the PIN."""
MAX_PIN_BYTES: Final = 256
SEAL_LABEL: Final = "kiosk-seal"
SIGN_LABEL: Final = "kiosk-sign"

T = TypeVar("T")

LOST: Final = (
    pkcs11.DeviceError,
    pkcs11.DeviceRemoved,
    pkcs11.FunctionFailed,
    pkcs11.GeneralError,
    pkcs11.KeyHandleInvalid,
    pkcs11.NoSuchKey,
    pkcs11.ObjectHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.SessionHandleInvalid,
    pkcs11.TokenNotPresent,
    pkcs11.TokenNotRecognised,
    pkcs11.UserNotLoggedIn,
)
"""What a module says when its token, or what we held of it, is no longer there: connecting anew may help.

SoftHSM 2.6.1 doesn't say CKR_DEVICE_REMOVED of a token that was taken away, but CKR_OBJECT_HANDLE_INVALID, or
finds nothing.
"""
WRONG_PIN: Final = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange)


@dataclass(frozen=True, slots=True)
class PinFile:
    """Where the PIN is. It is read when it is needed and not kept.

    A file must be its owner's only. Of a systemd `credential` the group's bits are not looked at: they are
    the mask of the access list that systemd sets for the unit's user.
    """

    path: Path
    credential: bool = False

    @classmethod
    def find(cls, named: str) -> PinFile:
        """The configured file, else the credential `token-pin` that systemd handed to this unit."""
        if named:
            return cls(Path(named))
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise OperatorError(
                "the token's PIN is nowhere",
                where="key.pin_file",
                do=f"Name a file of mode 0600, or give the unit LoadCredential={CREDENTIAL}:FILE.",
            )
        return cls(Path(folder) / CREDENTIAL, credential=True)

    def read(self) -> str:
        """The PIN without the line end.

        Raises:
            OperatorError: unreadable, open to others, empty, or no text.
        """
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & (0o037 if self.credential else 0o077):
                    raise OperatorError(
                        "others may read it", where=str(self.path), do=f"Run: chmod 600 {self.path}"
                    )
                pin = file.read(MAX_PIN_BYTES + 1).rstrip(b"\r\n").decode()
        except OSError as error:
            raise OperatorError(
                f"the token's PIN cannot be read ({error.strerror})",
                where=str(self.path),
                do="Put it there, mode 0600, owned by the kiosk's user.",
            ) from None
        except UnicodeDecodeError:
            pin = ""
        if not 0 < len(pin) <= MAX_PIN_BYTES:
            raise OperatorError("holds no PIN", where=str(self.path), do="One line of text: the PIN.")
        return pin

    def mark(self) -> tuple[int, int, int] | None:
        """Another one whenever the file was written anew."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What a token says of itself."""

    label: str
    manufacturer: str
    model: str
    serial: str


@dataclass(slots=True)
class Module:
    """A loaded module and what this process holds of its tokens. All of it under `lock`.

    There is one of a module in a process: a module knows sessions and logins by process.
    """

    library: Any
    lock: threading.RLock = field(default_factory=threading.RLock)
    sessions: dict[str, Any] = field(default_factory=dict)
    """By token label."""
    objects: dict[tuple[str, ObjectClass, bytes], Any] = field(default_factory=dict)
    """Found once in a session: token label, class, CKA_ID."""

    def reset(self) -> None:
        """Forget every session and handle. Many modules look for tokens only when they are initialised."""
        self.sessions.clear()
        self.objects.clear()
        self.library.reinitialize()


@cache
def load_module(path: str) -> Module:
    """The module (a shared library) at `path`, loaded once.

    Raises:
        OperatorError: not there, not a PKCS#11 module, or it does not start.
    """
    try:
        return Module(pkcs11.lib(path))
    except pkcs11.PKCS11Error as error:
        raise OperatorError(
            f"the PKCS#11 module does not load ({_name(error)})",
            where=path,
            do="Install the token's package, or set key.module to its library.",
        ) from None


class Token:
    """The token called `label`, logged in as its user when something is asked of it. Thread-safe."""

    def __init__(self, module: Callable[[], Module], label: str, pin: Callable[[], PinFile]) -> None:
        self._load, self.label, self._pin = module, label, pin
        self._refused: tuple[tuple[int, int, int] | None, OperatorError] | None = None

    # --- what it can be asked ---------------------------------------------------------------------------

    def info(self) -> TokenInfo:
        """OperatorError when it is away; nobody logs in for this."""

        def ask(module: Module) -> TokenInfo:
            token = self._present(module)
            return TokenInfo(
                token.label, token.manufacturer_id.strip(), token.model.strip(), token.serial.decode().strip()
            )

        return self._call(ask)

    def make_pair(self, cka_id: bytes) -> bytes:
        """A P-256 pair under `cka_id`; the public half (SubjectPublicKeyInfo, DER) comes back.

        Raises:
            OperatorError: also when the token made a key that could leave it; that key is destroyed.
        """

        def make(module: Module) -> bytes:
            parameters = self._session(module).create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
            )
            public, private = parameters.generate_keypair(
                id=cka_id,
                label=SIGN_LABEL,
                store=True,
                public_template={Attribute.VERIFY: True},
                private_template=_stays_inside() | {Attribute.DERIVE: False, Attribute.UNWRAP: False},
            )
            self._check_stays(private, public)
            return encode_ec_public_key(public)

        return self._call(make)

    def public_key(self, cka_id: bytes) -> bytes | None:
        """The public half of a whole pair that stays inside, DER; None when there is none under `cka_id`."""

        def find(module: Module) -> bytes | None:
            try:
                private = self._object(module, ObjectClass.PRIVATE_KEY, cka_id)
                public = self._object(module, ObjectClass.PUBLIC_KEY, cka_id)
            except pkcs11.NoSuchKey:
                return None
            self._check_stays(private)
            return encode_ec_public_key(public)

        return self._call(find)

    def sign(self, cka_id: bytes, digest: bytes) -> bytes:
        """ECDSA of a SHA-256 `digest`: r || s, 64 bytes, as the token gives it."""

        def sign(module: Module) -> bytes:
            private = self._object(module, ObjectClass.PRIVATE_KEY, cka_id)
            signature: bytes = private.sign(digest, mechanism=Mechanism.ECDSA)
            return signature

        return self._call(sign)

    def check(self, cka_id: bytes) -> None:
        """OperatorError when the key can't be used now. Cheap: it reads one attribute."""
        self._call(lambda module: self._object(module, ObjectClass.PRIVATE_KEY, cka_id)[Attribute.SIGN])

    def destroy(self, cka_id: bytes) -> None:
        """The pair is gone for good; no pair is no error."""

        def destroy(module: Module) -> None:
            module.objects.clear()
            for found in self._search(module, {Attribute.ID: cka_id}):
                found.destroy()

        self._call(destroy)

    def make_seal(self) -> None:
        """The secret for sealing local data, 256 bits; one that is there already stays."""

        def make(module: Module) -> None:
            if self._search(module, _SEAL):
                return
            secret = self._session(module).generate_key(
                KeyType.GENERIC_SECRET, 256, label=SEAL_LABEL, store=True, template=_stays_inside()
            )
            self._check_stays(secret)

        self._call(make)

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA256 of `message` under the sealing secret; 32 bytes."""

        def mac(module: Module) -> bytes:
            secret = self._only(module, _SEAL)
            result: bytes = secret.sign(message, mechanism=Mechanism.SHA256_HMAC)
            return result

        return self._call(mac)

    # --- inside -----------------------------------------------------------------------------------------

    def _call(self, ask: Callable[[Module], T]) -> T:
        """Ask; when what we held of the token is gone, connect anew and ask once more."""
        module = self._load()
        with module.lock:
            try:
                try:
                    return ask(module)
                except LOST:
                    module.reset()
                    return ask(module)
            except pkcs11.PKCS11Error as error:
                # A session that saw an error is not trusted again; the next call starts from nothing.
                with contextlib.suppress(pkcs11.PKCS11Error):
                    module.reset()
                raise _explained(error, self.label) from None

    def _present(self, module: Module) -> Any:
        if not module.library.initialized:  # it could not start at the last reset
            module.reset()
        return module.library.get_token(token_label=self.label)

    def _session(self, module: Module) -> Any:
        if self.label not in module.sessions:
            module.sessions[self.label] = self._log_in(self._present(module))
        return module.sessions[self.label]

    def _log_in(self, token: Any) -> Any:
        """A session of its user. The same wrong PIN is never tried twice, nor the last try used up."""
        pin = self._pin()
        mark = pin.mark()
        if self._refused is not None and self._refused[0] == mark:
            raise self._refused[1]
        if TokenFlag.USER_PIN_FINAL_TRY in token.flags:
            raise OperatorError(
                "one more wrong PIN would lock the token; the kiosk does not try it",
                where=f"token {self.label}",
                do="Check the PIN file, then log in once with the token's own tool: that resets its count.",
            )
        try:
            session = token.open(rw=True, user_pin=pin.read())
        except WRONG_PIN as error:
            self._refused = (mark, _explained(error, self.label, str(pin.path)))
            raise self._refused[1] from None
        self._refused = None
        return session

    def _object(self, module: Module, kind: ObjectClass, cka_id: bytes) -> Any:
        self._session(module)
        name = (self.label, kind, cka_id)
        if name not in module.objects:
            module.objects[name] = self._only(module, {Attribute.CLASS: kind, Attribute.ID: cka_id})
        return module.objects[name]

    def _only(self, module: Module, wanted: dict[Attribute, Any]) -> Any:
        found = self._search(module, wanted)
        if len(found) != 1:
            raise pkcs11.MultipleObjectsReturned if found else pkcs11.NoSuchKey
        return found[0]

    def _search(self, module: Module, wanted: dict[Attribute, Any]) -> list[Any]:
        session = self._session(module)
        # A search in a session that is no longer there complains once more when it is collected, to nobody:
        # ask for something else first.
        with contextlib.suppress(pkcs11.RandomNoRNG):
            session.generate_random(8)
        return list(session.get_objects(wanted))

    def _check_stays(self, secret: Any, *others: Any) -> None:
        """What the token made of our wishes, by its own word; a key that may leave is destroyed."""
        if secret[Attribute.SENSITIVE] and not secret[Attribute.EXTRACTABLE]:
            return
        for made in (secret, *others):
            made.destroy()
        raise OperatorError(
            "the token made a key that could leave it; it was destroyed",
            where=f"token {self.label}",
            do="Use a token that keeps CKA_SENSITIVE and refuses CKA_EXTRACTABLE.",
        )


_SEAL: Final = {Attribute.LABEL: SEAL_LABEL, Attribute.CLASS: ObjectClass.SECRET_KEY}


def _stays_inside() -> dict[Attribute, bool]:
    return {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.SIGN: True}


_MEANINGS: Final[tuple[tuple[tuple[type[pkcs11.PKCS11Error], ...], str, str], ...]] = (
    (
        (pkcs11.NoSuchToken, pkcs11.DeviceRemoved, pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised),
        "the token is not there",
        "Put it back; the kiosk finds it by itself.",
    ),
    ((pkcs11.PinLocked,), "the token is locked", "Unlock it with its security officer's PIN."),
    (WRONG_PIN, "the token refuses the PIN", "Correct the PIN file; the kiosk tries again once it changed."),
    (
        (pkcs11.PinExpired, pkcs11.UserPinNotInitialized),
        "the token's PIN has to be set first",
        "Set it with the token's own tool.",
    ),
    (
        (pkcs11.NoSuchKey,),
        "the key is not on the token",
        "Put back the token that holds it, or run `kiosk keys make` and enrol.",
    ),
    (
        (pkcs11.MultipleTokensReturned,),
        "two tokens have this label",
        "Take one out, or give it another label.",
    ),
    (
        (pkcs11.MechanismInvalid, pkcs11.FunctionNotSupported),
        "the token can't do what the kiosk needs",
        "It has to do P-256 (CKM_ECDSA) and CKM_SHA256_HMAC.",
    ),
)
_ELSE: Final = ("the token does not work", "Look at the token and its module; the kiosk goes on trying.")


def _explained(error: pkcs11.PKCS11Error, label: str, where: str = "") -> OperatorError:
    """One line; what the module said in brackets, for support."""
    what, do = next(((what, do) for kinds, what, do in _MEANINGS if isinstance(error, kinds)), _ELSE)
    return OperatorError(f"{what} ({_name(error)})", where=where or f"token {label}", do=do)


def _name(error: pkcs11.PKCS11Error) -> str:
    """`PinLocked`; the text of an error may hold more than belongs into a log."""
    return type(error).__name__
