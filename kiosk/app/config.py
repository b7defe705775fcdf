"""The kiosk's one configuration file: typed TOML, units in the names, refused in one line when it is wrong.

A wrong value is refused at start with the file, the key, the value and what is allowed; a syntax error also
with its line. Everything has a default that makes a demo kiosk; a shop's file names its terminal.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import MAX_COUNT, Limits
from kiosk.domain.money import CURRENCIES
from kiosk.domain.offline import OfflineSetting
from kiosk.domain.ports import Mode

__all__ = ["Config", "default_data_dir", "load"]

CONFIG_NAME: Final = "kiosk.toml"
MAX_CONFIG_BYTES: Final = 64 * 1024

# A rule's `description` is what is allowed, in the words that a refusal is said in.
Minor = Annotated[
    int,
    msgspec.Meta(ge=0, le=999_999_999_999, description="a whole number of minor units, 0 to 999999999999"),
]
Payments = Annotated[
    int,
    msgspec.Meta(ge=0, le=MAX_COUNT, description=f"a whole number of payments, 0 to {MAX_COUNT}"),
]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=120, description="a number above 0, at most 120")]
Identifier = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9._-]{1,35}\Z", description="1 to 35 letters, digits or . _ - in quotes"
    ),
]
"""ISO 20022 Max35Text, without anything that needs escaping."""
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=70, description="1 to 70 characters in quotes")]
Words = Annotated[str, msgspec.Meta(max_length=160, description="at most 160 characters in quotes")]
Currency = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z", description='three capital letters in quotes, such as "CNY"')
]
SaleCount = Annotated[int, msgspec.Meta(ge=0, le=10_000, description="a whole number from 0 to 10000")]
AgeSeconds = Annotated[
    int, msgspec.Meta(ge=0, le=2_592_000, description="a whole number of seconds, 0 to 2592000 (30 days)")
]
Threads = Annotated[int, msgspec.Meta(ge=1, le=8, description="a whole number from 1 to 8")]
TokenLabel = Annotated[
    str, msgspec.Meta(min_length=1, max_length=32, description="1 to 32 characters in quotes")
]
Address = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9A-Fa-f.:]{2,45}\Z", description='an IP address in quotes, such as "127.0.0.1"'
    ),
]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535, description="a whole number from 1 to 65535")]

PollSeconds = Annotated[float, msgspec.Meta(ge=5, le=45, description="a number of seconds from 5 to 45")]
Hours = Annotated[float, msgspec.Meta(gt=0, le=720, description="a number of hours above 0, at most 720")]
References = Annotated[
    int, msgspec.Meta(ge=1, le=8_000_000, description="a whole number of references, 1 to 8000000")
]
RepositoryUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(https?://[^\s?#@]{1,200})?\Z",
        description='an http(s) address in quotes, or "" for the acquirer\'s',
    ),
]
CameraPin = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^((pi|v4l2):[ -~]{1,800})?\Z",
        description="the line that kiosk doctor shows as camera_pin, in quotes",
    ),
]


class StoreConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who is paid, and where. `timezone` decides when a day of limits ends (IANA name)."""

    payee: Label = "Corner Shop"
    merchant_id: Identifier = "M-DEMO-0001"
    store_id: Identifier = "S-DEMO-0001"
    terminal_id: Identifier = "T-DEMO-0001"
    currency: Currency = "CNY"
    timezone: str = "Asia/Shanghai"


class AcquirerConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where payments go. `trust_file` holds the acquirer's address and keys, `scheme_file` the roots of the
    scheme that licenses it; empty: acquirer.json and scheme.json in the data dir."""

    trust_file: str = ""
    scheme_file: str = ""
    connect_timeout_s: Seconds = 3.0
    answer_timeout_s: Seconds = 15.0


class KeyConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the kiosk's key is: a `file` of the data folder (class dev), or a PKCS#11 `token` (hardware).

    `module`: the token's library; `pin_file`: its user PIN, mode 0600; empty: the credential `token-pin`.
    """

    store: Literal["file", "token"] = "file"
    module: str = ""
    token_label: TokenLabel = "kiosk"  # noqa: S105 - the token's name
    pin_file: str = ""


class LimitsConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The merchant's own caps, minor units and numbers of payments; they can only lower what the acquirer
    signed. `kiosk limits set` lowers them further while the kiosk runs.
    """

    per_payment_minor: Minor | None = None
    per_person_hour_minor: Minor | None = None
    per_person_day_minor: Minor | None = None
    per_kiosk_day_minor: Minor | None = None
    pin_above_minor: Minor | None = None
    per_person_hour_count: Payments | None = None
    per_person_day_count: Payments | None = None
    per_kiosk_day_count: Payments | None = None

    def layer(self) -> Limits:
        return Limits(
            per_payment=self.per_payment_minor,
            per_person_day=self.per_person_day_minor,
            per_kiosk_day=self.per_kiosk_day_minor,
            pin_above=self.pin_above_minor,
            per_person_hour=self.per_person_hour_minor,
            per_person_hour_count=self.per_person_hour_count,
            per_person_day_count=self.per_person_day_count,
            per_kiosk_day_count=self.per_kiosk_day_count,
        )


class OfflineConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Selling while the acquirer can't be reached (docs/offline.md); caps only lower what it signed."""

    enabled: bool = False
    per_payment_minor: Minor | None = None
    count: SaleCount | None = None
    total_minor: Minor | None = None
    age_s: AgeSeconds | None = None

    def setting(self) -> OfflineSetting:
        return OfflineSetting(
            enabled=self.enabled,
            per_payment=self.per_payment_minor,
            count=self.count,
            total=self.total_minor,
            age_s=self.age_s,
        )


class GalleryConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The gallery that the acquirer publishes (docs/gallery.md).

    `repository_url`: where; empty: `repo/` at the acquirer's address. `root_file`: the root that is believed;
    empty: root.json in the data folder. Without one nothing is synced. `poll_s`: how often deletions are
    asked for. `time_to_live_h`: without a word from the repository for so long, nobody pays by face.
    `warn_at_references`: stored references from which the doctor warns.
    """

    repository_url: RepositoryUrl = ""
    root_file: str = ""
    poll_s: PollSeconds = 30.0
    time_to_live_h: Hours = 72.0
    warn_at_references: References = 100_000


class CameraConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`source`: `pi`, `pi:1`, `/dev/video0`; in demo and test also a picture, a folder or a video.

    `pin`: the only camera that is let in, as `kiosk doctor` names it; empty: the data folder's `camera.pin`.
    """

    source: str = "pi"
    pin: CameraPin = ""


class VisionConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`challenge`: who is asked to turn, to blink or to look into a flash: those in doubt, or everybody."""

    challenge: Literal["grey-zone", "always"] = "grey-zone"


class ScreenConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How the screen looks at start."""

    language: Literal["en", "zh-Hans"] = "en"
    orientation: Literal["portrait", "landscape"] = "portrait"
    theme: Literal["light", "dark"] = "light"
    another_way: Literal["till", "staff"] = "staff"
    """Where *Pay another way* leads: the order goes back to the till, or staff are called."""


class ModelsConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`accept_without_leave` names models (by id) whose terms the operator has cleared themselves."""

    accept_without_leave: tuple[str, ...] = ()
    interpreter_threads: Threads = 1


class TillConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How a shop's till reaches this kiosk (docs/till.md); `off`: not at all.

    `tcp` listens on `address` and `port` for who has the key in `key_file` (empty: `till.key` in the data
    folder). `serial` listens on `device` at `baud` bits a second.
    """

    link: Literal["off", "tcp", "serial"] = "off"
    address: Address = "127.0.0.1"
    port: Port = 4880
    key_file: str = ""
    device: str = "/dev/ttyUSB0"
    baud: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600


class PrivacyConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who answers for people's data here, as signs and reports name them (docs/privacy.md).

    `controller` empty: `store.payee`. `contact`: a telephone number, an address, or both.
    """

    controller: Words = ""
    contact: Words = ""


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file; one table a room."""

    mode: Mode = "demo"
    store: StoreConfig = msgspec.field(default_factory=StoreConfig)
    acquirer: AcquirerConfig = msgspec.field(default_factory=AcquirerConfig)
    key: KeyConfig = msgspec.field(default_factory=KeyConfig)
    limits: LimitsConfig = msgspec.field(default_factory=LimitsConfig)
    offline: OfflineConfig = msgspec.field(default_factory=OfflineConfig)
    gallery: GalleryConfig = msgspec.field(default_factory=GalleryConfig)
    camera: CameraConfig = msgspec.field(default_factory=CameraConfig)
    vision: VisionConfig = msgspec.field(default_factory=VisionConfig)
    screen: ScreenConfig = msgspec.field(default_factory=ScreenConfig)
    models: ModelsConfig = msgspec.field(default_factory=ModelsConfig)
    till: TillConfig = msgspec.field(default_factory=TillConfig)
    privacy: PrivacyConfig = msgspec.field(default_factory=PrivacyConfig)


def default_data_dir() -> Path:
    """`$KIOSK_DATA_DIR`, else systemd's state directory, else `$XDG_DATA_HOME/facepay-kiosk`."""
    for variable in ("KIOSK_DATA_DIR", "STATE_DIRECTORY"):
        if os.environ.get(variable):
            return Path(os.environ[variable])
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "facepay-kiosk"


def load(path: Path | None, data_dir: Path) -> Config:
    """Read `path`; without one, `kiosk.toml` in `data_dir` if it is there, else the demo's defaults.

    Raises:
        OperatorError: unreadable, not TOML (with the line), or a wrong value (key, value, what is allowed).
    """
    named, path = path is not None, path or data_dir / CONFIG_NAME
    try:
        raw = path.read_bytes()[: MAX_CONFIG_BYTES + 1]
    except OSError as error:
        if not named and isinstance(error, FileNotFoundError | NotADirectoryError):
            return Config()
        raise OperatorError(
            f"cannot read the configuration ({error.strerror})",
            where=str(path),
            do="Check --config." if named else "Run as the data folder's owner, or use --data-dir.",
        ) from None
    if len(raw) > MAX_CONFIG_BYTES:
        raise OperatorError(
            "larger than 64 KiB", where=str(path), do="A configuration is a few lines of TOML."
        )
    try:
        table = tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise OperatorError(
            f"not UTF-8 at byte {error.start}", where=str(path), do="Save it as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        lines = raw.count(b"\n") + 1
        reason = str(error).replace("at end of document", f"at line {lines}")
        raise OperatorError(f"not valid TOML: {reason}", where=str(path), do="Mend that line.") from None
    return _checked(table, path)


def _checked(table: dict[str, Any], path: Path) -> Config:
    try:
        config = msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        raise _explained(str(error), table, path) from None
    if config.store.currency not in CURRENCIES:
        raise OperatorError(
            f"store.currency = {config.store.currency!r}: not a currency this kiosk knows",
            where=str(path),
            do=f"One of {', '.join(sorted(CURRENCIES))}.",
        )
    if config.key.store == "token" and not config.key.module:
        raise OperatorError(
            "key.module is empty: a token needs its PKCS#11 library",
            where=str(path),
            do='Name it: module = "/usr/lib/softhsm/libsofthsm2.so", or the one of your token.',
        )
    try:
        ZoneInfo(config.store.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise OperatorError(
            f"store.timezone = {config.store.timezone!r}: not a time zone",
            where=str(path),
            do="Use an IANA name such as Asia/Shanghai.",
        ) from None
    return config


def _explained(message: str, table: dict[str, Any], path: Path) -> OperatorError:
    """msgspec says "Expected `int`, got `str` - at `$.limits.pin_above_minor`": the value and what may be."""
    found = re.search(r" - at `\$\.?([^`]*)`", message)
    key = re.sub(r"\[.*", "", found[1]) if found else ""
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown:
        key = f"{key}.{unknown[1]}" if key else unknown[1]
    value: Any = table
    for part in key.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    reason = "there is no such key" if unknown else f"not {_allowed(key)}"
    return OperatorError(
        f"{key} = {value!r}: {reason}", where=str(path), do="docs/configuration.md lists every key."
    )


def _allowed(key: str) -> str:
    """What `key` may be, in words."""
    kind: Any = msgspec.inspect.type_info(Config)
    for part in key.split("."):
        kind = next(field.type for field in kind.fields if field.encode_name == part)
    if isinstance(kind, msgspec.inspect.UnionType):  # with None: a key that may be left out
        kind = kind.types[0]
    match kind:
        case msgspec.inspect.Metadata(extra_json_schema={"description": words}):
            return str(words)
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(repr(value) for value in values)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.StructType():
            return f"a table: [{key}], and its keys below"
        case msgspec.inspect.VarTupleType():
            return 'a list of texts in quotes: ["..."]'
    return "text in quotes"
