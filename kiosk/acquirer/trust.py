"""Which acquirer this kiosk talks to, and the public keys by which it believes it.

One file, `acquirer.json`, handed over out of band: `base_url`, `acquirer_keys` and `policy_keys` (key id ->
SubjectPublicKeyInfo, DER, base64). Nothing that arrives over the network changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kiosk.acquirer.signing import load_public_key
from kiosk.domain.errors import OperatorError

__all__ = ["Trust", "load_trust"]


@dataclass(frozen=True, slots=True)
class Trust:
    """The acquirer's address and pinned keys (key id -> SubjectPublicKeyInfo, DER): answers, policy."""

    base_url: str
    acquirer_keys: Mapping[str, bytes]
    policy_keys: Mapping[str, bytes]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    base_url: str
    acquirer_keys: dict[str, bytes]
    policy_keys: dict[str, bytes]


def load_trust(path: Path) -> Trust:
    """Read `acquirer.json`.

    Raises:
        OperatorError: not there, not such a file, or a key that is not P-256.
    """
    do = "Copy the acquirer.json that your acquirer (or `kiosk sandbox`) gave you there."
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        for key in (*file.acquirer_keys.values(), *file.policy_keys.values()):
            load_public_key(key)
    except PermissionError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})", where=str(path), do="Run as the owner of this file."
        ) from None
    except OSError as error:
        raise OperatorError(error.strerror or "cannot be read", where=str(path), do=do) from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise OperatorError(f"not an acquirer's file: {error}", where=str(path), do=do) from None
    except OperatorError as error:
        raise OperatorError(error.what, where=str(path), do=do) from None
    if not file.acquirer_keys or not file.policy_keys:
        raise OperatorError("names no key to believe", where=str(path), do=do)
    return Trust(file.base_url, file.acquirer_keys, file.policy_keys)
