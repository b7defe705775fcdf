"""Which acquirer this kiosk talks to, and the public keys by which it believes it.

One file, `acquirer.json`, handed over out of band: `base_url`, `acquirer_keys` and `policy_keys` (key id ->
SubjectPublicKeyInfo, DER, base64), and for https `tls`: `ca` (certificates, DER, base64) and `pins`
(`sha256/...` of server keys). Nothing that arrives over the network changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509

from kiosk.acquirer.signing import load_public_key
from kiosk.acquirer.tls import PIN_PATTERN, TlsTrust
from kiosk.domain.errors import OperatorError

__all__ = ["Trust", "load_trust"]


@dataclass(frozen=True, slots=True)
class Trust:
    """The acquirer's address and pinned keys (key id -> SubjectPublicKeyInfo, DER): answers, policy.

    `tls`: whom its server is held against; None: nobody in particular.
    """

    base_url: str
    acquirer_keys: Mapping[str, bytes]
    policy_keys: Mapping[str, bytes]
    tls: TlsTrust | None = None


class _Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ca: tuple[bytes, ...] = ()
    pins: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    base_url: str
    acquirer_keys: dict[str, bytes]
    policy_keys: dict[str, bytes]
    tls: _Tls | None = None


def load_trust(path: Path) -> Trust:
    """Read `acquirer.json`.

    Raises:
        OperatorError: not there, not such a file, a key that is not P-256, or one TLS pin only (the acquirer
            could never change its key).
    """
    do = "Copy the acquirer.json that your acquirer (or `kiosk sandbox`) gave you there."
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        for key in (*file.acquirer_keys.values(), *file.policy_keys.values()):
            load_public_key(key)
        tls = None if file.tls is None else _tls(file.tls, file.base_url)
    except PermissionError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})", where=str(path), do="Run as the owner of this file."
        ) from None
    except OSError as error:
        raise OperatorError(error.strerror or "cannot be read", where=str(path), do=do) from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise OperatorError(
            f"not an acquirer's file: {ascii(str(error))[1:-1]}", where=str(path), do=do
        ) from None
    except OperatorError as error:
        raise OperatorError(error.what, where=str(path), do=do) from None
    if not file.acquirer_keys or not file.policy_keys:
        raise OperatorError("names no key to believe", where=str(path), do=do)
    return Trust(file.base_url, file.acquirer_keys, file.policy_keys, tls)


def _tls(said: _Tls, base_url: str) -> TlsTrust:
    if not base_url.startswith("https://"):
        raise OperatorError(f"tls is for an https address, not for {base_url}")
    try:
        for certificate in said.ca:
            x509.load_der_x509_certificate(certificate)
    except ValueError:
        raise OperatorError("tls.ca holds something that is no certificate") from None
    if not said.ca and not said.pins:
        raise OperatorError("tls names neither a CA nor pins")
    if not all(PIN_PATTERN.fullmatch(pin) for pin in said.pins):
        raise OperatorError("tls.pins are written sha256/ and 44 characters of base64")
    if len(set(said.pins)) == 1:
        raise OperatorError("tls.pins has one key only: a second one has to be there before the first ends")
    return TlsTrust(said.ca, frozenset(said.pins))
