"""Writes what the protocol's types say: `docs/openapi.json`, and the tables in `docs/protocol.md`.

    make openapi                                 writes both
    .venv/bin/python tools/protocol.py --check   says whether both are current (exit code 1 when not)

Types, ranges and patterns come from the messages themselves; what no type says is in `protocol_fields.txt`:
what a field means, and where ISO 20022 and ISO 8583 have it. A field without words stops this tool, and so do
words without a field.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from kiosk.acquirer import messages as m
from kiosk.acquirer import operations as o
from kiosk.domain.money import CURRENCIES

FIELDS = Path(__file__).with_name("protocol_fields.txt")
DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, OPENAPI = DOCS / "protocol.md", DOCS / "openapi.json"
BEGIN = "<!-- written by tools/protocol.py: change the messages or its words, then `make openapi` -->"
END = "<!-- end of what is written -->"

# --- calls ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One operation: how it is asked, what ISO 20022 and ISO 8583 call it."""

    operation: m.Operation
    method: str
    path: str
    request: type[m.Message] | None
    what: str
    caaa: str = ""
    mti: str = ""

    @property
    def answer(self) -> type[m.Message] | None:
        """None: one JWS."""
        return o.ANSWERS.get(self.operation)


CALLS: Final = (
    Call("payment", "POST", "/v1/payments", m.PaymentRequest, "authorise",
         "caaa.001, 002 (AUTQ)", "0100, 0110"),
    Call("status", "GET", "/v1/payments/{ref}", None, "what became of an attempt"),
    Call("reversal", "POST", "/v1/payments/{ref}/reversals", m.ReversalRequest,
         "undo an attempt whose outcome is not known", "caaa.005, 006 (CCAQ)", "0400, 0410"),
    Call("refund", "POST", "/v1/payments/{ref}/refunds", o.RefundRequest,
         "give back all or a part; void when all, before settlement",
         "caaa.001, 002 (TxTp RFND); a void: caaa.005, 006", "0100, 0110 (DE 3: 20); a void: 0400"),
    Call("advice", "POST", "/v1/advices", o.AdviceRequest, "forward a payment that was accepted offline",
         "caaa.003, 004 (CMPV)", "0120, 0130"),
    Call("dispute", "POST", "/v1/payments/{ref}/disputes", o.DisputeRequest,
         "its payer says that it was not theirs, or not so"),
    Call("reconciliation", "POST", "/v1/reconciliations", o.ReconciliationRequest,
         "compare a batch, or close it for good", "caaa.009, 010 (RCLQ)", "0500, 0510"),
    Call("enrolment", "POST", "/v1/enrolments", o.EnrolmentRequest, "a person wants to pay by face"),
    Call("payer", "GET", "/v1/payers/{token}", None, "what is held of a person"),
    Call("withdrawal", "DELETE", "/v1/payers/{token}", None, "a person takes their consent back"),
    Call("identification", "POST", "/v1/identifications", o.IdentificationRequest,
         "who is this, when the kiosk does not know"),
    Call("gallery_keys", "POST", "/v1/gallery-keys", o.GalleryKeysRequest,
         "the secrets that the published gallery is turned and sealed by"),
    Call("policy", "GET", "/v1/policy", None, "caps, law of the place, licence: one JWS", "catm.003"),
    Call("telemetry", "POST", "/v1/telemetry", o.TelemetryRequest, "versions and counters", "catm.001"),
)  # fmt: skip

# --- words ----------------------------------------------------------------------------------------------

WORDS: Final = {
    name: tuple((*rest, "", "", "")[:3])
    for name, *rest in (
        [part.strip() for part in line.split("|")]
        for line in FIELDS.read_text().splitlines()
        if line and not line.startswith("#")
    )
}
"""`Class.field`, or `*.field` for those that mean the same everywhere: meaning, ISO 20022, ISO 8583."""

OTHERS: Final = (m.Problem, m.PolicyTerms, m.LicenceTerms, o.WishesMessage)
"""Messages that no call names: refusals, the payload of the policy's JWS, what an enrolment seals."""
KINDS: Final = {
    m.Ref.__metadata__[0].pattern: "UUIDv7, lower case",
    m.Name.__metadata__[0].pattern: "name: 1 to 64 of letters, digits, `. _ : -`",
    m.Label.__metadata__[0].pattern: "one line, 1 to 128 characters",
    m.Text.__metadata__[0].pattern: "one line, at most 128 characters",
    m.Code.__metadata__[0].pattern: "at most 32 of `a-z 0-9 _`",
    m.Jose.__metadata__[0].pattern: "compact JWS or JWE, at most 4096 characters",
    m.Hash.__metadata__[0].pattern: "64 hex digits",
    r"^[0-9a-f]{16}\Z": "16 hex digits",
    r"^([0-9]{4})?\Z": "4 digits, or empty",
}
"""What a pattern is called in the tables."""


def words_of(kind: type[m.Message], field: str, used: set[str]) -> tuple[str, str, str]:
    """The words for a field; the key that they stand under is added to `used`."""
    for key in (*(f"{base.__name__}.{field}" for base in kind.__mro__), f"*.{field}"):
        if key in WORDS:
            used.add(key)
            return WORDS[key]
    raise SystemExit(f"tools/protocol.py has no words for {kind.__name__}.{field}")


def messages() -> dict[str, type[m.Message]]:
    """Every message by its name, parts before the whole that they are first used in."""
    roots = [kind for call in CALLS for kind in (call.request, call.answer) if kind is not None]
    found: dict[str, type[m.Message]] = {}
    for root in (*roots, *OTHERS):
        _collect(root, found)
    return found


def _collect(kind: type[m.Message], found: dict[str, type[m.Message]]) -> None:
    if kind.__name__ in found:
        return
    found[kind.__name__] = kind
    for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        for inner in _structs(field.type):
            _collect(inner, found)


def _structs(kind: Any) -> Iterator[type[m.Message]]:
    if isinstance(kind, msgspec.inspect.StructType):
        yield kind.cls
    for name in ("type", "item_type", "value_type"):
        if hasattr(kind, name):
            yield from _structs(getattr(kind, name))
    for inner in getattr(kind, "types", ()):
        yield from _structs(inner)


# --- OpenAPI --------------------------------------------------------------------------------------------

PROBLEMS: Final = (400, 401, 403, 404, 409, 422, 503)
SIGNED: Final = {
    "Signature-Input": "RFC 9421: what is covered, created, expires, nonce, keyid, alg, tag",
    "Signature": "RFC 9421: ECDSA P-256 with SHA-256, 64 bytes",
}
SIGNED_BODY: Final = {
    "Content-Digest": "RFC 9530: SHA-256 of the content",
    "Idempotency-Key": 'the same for every try: `"<ref>:<operation>:<n>"`',
}


def openapi() -> dict[str, Any]:
    """The protocol as an OpenAPI 3.1 document."""
    used: set[str] = set()
    _, schemas = msgspec.json.schema_components(
        list(messages().values()), ref_template="#/components/schemas/{name}"
    )
    for name, kind in messages().items():
        for field, schema in schemas[name]["properties"].items():
            said = words_of(kind, field, used)[0]
            if "$ref" not in schema:
                schema["description"] = said
            if field == "currency":
                schema["enum"] = sorted(CURRENCIES)
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kiosk and acquirer",
            "version": str(m.VERSION),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Every message is signed both ways (RFC 9421); docs/protocol.md says how, and "
            "what a kiosk makes of each answer.",
        },
        "servers": [{"url": "https://acquirer.example"}],
        "security": [{"line": [], "signature": []}],
        "paths": paths,
        "components": {
            "schemas": _ecma(schemas),
            "securitySchemes": {
                "line": {"type": "mutualTLS", "description": "TLS 1.3; the certificate names the terminal"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": "RFC 9421",
                },
            },
        },
    }


def _operation(call: Call) -> dict[str, Any]:
    parameters = [_parameter(name) for name in re.findall(r"{(\w+)}", call.path)]
    signed = SIGNED | SIGNED_BODY if call.request else SIGNED
    parameters += [
        {"name": name, "in": "header", "required": True, "description": said, "schema": {"type": "string"}}
        for name, said in signed.items()
    ]
    made: dict[str, Any] = {
        "operationId": call.operation,
        "summary": call.what,
        "parameters": parameters,
        "responses": {"200": _response(call)} | {str(status): _problem(status) for status in PROBLEMS},
    }
    if call.request is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": _ref(call.request)}}
    return made


def _parameter(name: str) -> dict[str, Any]:
    kind = {"ref": m.Ref, "token": m.Label}[name]
    return {"name": name, "in": "path", "required": True, "schema": _ecma(msgspec.json.schema(kind))}


def _response(call: Call) -> dict[str, Any]:
    content = {"application/jose": {"schema": {"type": "string"}}}
    if call.answer is not None:
        content = {"application/json": _ref(call.answer)}
    return {"description": "The acquirer's word", "headers": _headers(), "content": content}


def _problem(status: int) -> dict[str, Any]:
    said = f"{HTTPStatus(status).phrase}: the call was not treated"
    headers = {} if status == HTTPStatus.UNAUTHORIZED else {"headers": _headers()}
    return {"description": said, **headers, "content": {"application/json": _ref(m.Problem)}}


def _headers() -> dict[str, Any]:
    names = (*SIGNED, "Content-Digest")
    return {name: {"required": True, "schema": {"type": "string"}} for name in names}


def _ref(kind: type[m.Message]) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}


def _ecma(schema: Any) -> Any:
    r"""JSON Schema's patterns are ECMAScript's: there `$` is the very end, and `\Z` is no such thing."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" else _ecma(value)
            for key, value in schema.items()
        }
    return [_ecma(part) for part in schema] if isinstance(schema, list) else schema


# --- tables ---------------------------------------------------------------------------------------------


def tables() -> str:
    """The calls, and the fields of every message, as Markdown."""
    used: set[str] = set()
    lines = [
        "| call | operation | what | ISO 20022 | ISO 8583 |",
        "|---|---|---|---|---|",
        *(
            f"| `{call.method} {call.path}` | `{call.operation}` | {call.what} | {call.caaa} | {call.mti} |"
            for call in CALLS
        ),
    ]
    common = {field.name for field in msgspec.inspect.type_info(m.Request).fields}  # type: ignore[attr-defined]
    lines += _table("Request", m.Request, "What every request with a body says of itself.", used, set())
    for name, kind in messages().items():
        left_out = common if issubclass(kind, m.Request) else set()
        lines += _table(name, kind, (kind.__doc__ or "").split("\n\n")[0], used, left_out)
    unused = WORDS.keys() - used
    if unused:
        raise SystemExit(f"tools/protocol.py has words for what is no field: {', '.join(sorted(unused))}")
    return "\n".join(lines)


def _table(name: str, kind: type[m.Message], what: str, used: set[str], left_out: set[str]) -> list[str]:
    schema = msgspec.json.schema_components([kind], ref_template="{name}")[1][name]
    required = set(schema.get("required", ()))
    rows = []
    for field, said in schema["properties"].items():
        if field in left_out:
            continue
        what_it_is, caaa, de = words_of(kind, field, used)
        mark = "" if field in required else " (may be left out)"
        rows.append(f"| `{field}`{mark} | {_kind(said)} | {what_it_is} | {caaa} | {de} |")
    more = ["", "With every field of `Request`, and:"] if left_out else []
    head = ["", "| field | type | what | ISO 20022 caaa | ISO 8583 |", "|---|---|---|---|---|"]
    return ["", f"### `{name}`", "", " ".join(what.split()), *more, *head, *rows]


def _kind(schema: dict[str, Any]) -> str:
    match schema:
        case {"anyOf": kinds}:
            return " or ".join(_kind(kind) for kind in kinds)
        case {"$ref": name}:
            return f"`{name}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"pattern": pattern}:
            return KINDS.get(pattern, f"`{pattern.removesuffix(chr(92) + 'Z')}$`".replace("|", r"\|"))
        case {"type": "integer"}:
            return f"{schema['minimum']:,} to {schema['maximum']:,}"
        case {"type": "array"}:
            least, most = schema.get("minItems", 0), schema.get("maxItems")
            many = f"{least} to {most}" if most else "any number"
            return f"list of {many}: {_kind(schema['items'])}"
        case {"type": "object"}:
            return f"names to {_kind(schema['additionalProperties'])}; at most {schema['maxProperties']}"
        case {"format": "date-time"}:
            return "RFC 3339"
        case {"contentEncoding": "base64"}:
            return "base64"
        case {"type": kind}:
            return {"boolean": "true or false", "null": "null", "string": "text"}[kind]
    raise AssertionError(schema)


# --- files ----------------------------------------------------------------------------------------------


def written() -> dict[Path, str]:
    """What both files should be."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return {
        OPENAPI: json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n",
        PAGE: f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}",
    }


def main() -> int:
    stale = [path for path, content in written().items() if not path.exists() or path.read_text() != content]
    if "--check" in sys.argv:
        for path in stale:
            print(f"docs/{path.name} is not what the messages say: run `make openapi`")
        return bool(stale)
    for path, content in written().items():
        path.write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
