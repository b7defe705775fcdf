"""What is written of the protocol is what its types say: the OpenAPI file, the tables that people read."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import msgspec
import pytest

from kiosk.acquirer import messages, operations
from kiosk.acquirer.messages import Message, Operation, Request

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kiosk_protocol", ROOT / "tools" / "protocol.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # where dataclasses look for their own module
        spec.loader.exec_module(module)
    return module


def every_message() -> dict[str, type[Message]]:
    """Every message that the two modules define, whoever uses it."""
    found = {
        name: kind
        for module in (messages, operations)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, Message)
    }
    del found["Message"]
    return found


def test_both_files_are_what_the_messages_say(tool: ModuleType) -> None:
    for path, content in tool.written().items():
        assert path.read_text() == content, f"{path.name} is stale: run `make openapi`"


def test_every_operation_is_there(tool: ModuleType) -> None:
    assert {call.operation for call in tool.CALLS} == set(get_args(Operation))
    assert operations.ANSWERS.keys() == set(get_args(Operation)) - {"policy"}


def test_every_field_of_every_message_is_in_the_tables_and_nothing_else() -> None:
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|^<!--)", PAGE, re.MULTILINE | re.DOTALL))
    assert sections.keys() == every_message().keys()
    common = {field.name for field in msgspec.structs.fields(Request)}
    for name, kind in every_message().items():
        fields = {field.name for field in msgspec.structs.fields(kind)}
        if issubclass(kind, Request) and kind is not Request:
            assert "With every field of `Request`" in sections[name]
            fields -= common
        assert re.findall(r"^\| `(\w+)`", sections[name], re.MULTILINE) == [
            field.name for field in msgspec.structs.fields(kind) if field.name in fields
        ]


def test_a_field_without_words_stops_the_tool(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(tool.WORDS, "Amount.minor")
    with pytest.raises(SystemExit, match=r"Amount\.minor"):
        tool.tables()


def test_words_without_a_field_stop_the_tool(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tool.WORDS, "Amount.colour", ("", "", ""))
    with pytest.raises(SystemExit, match=r"Amount\.colour"):
        tool.tables()


def test_the_file_is_openapi_and_closed_to_unknown_fields(tool: ModuleType) -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert document["openapi"].startswith("3.1")
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema:
            assert schema["additionalProperties"] is False, name
    assert r"\Z" not in json.dumps(document)


def said_by_the_sandbox(pattern: str) -> set[str]:
    source = "".join(path.read_text() for path in sorted((ROOT / "kiosk" / "sandbox").glob("*.py")))
    return set(re.findall(pattern, source))


def test_every_problem_of_the_sandbox_is_explained() -> None:
    section = PAGE[PAGE.index("A **problem**") : PAGE.index("## Policy")]
    rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", section, re.MULTILINE)
    explained = {(status, code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert said_by_the_sandbox(r"""problem\(\s*(\d{3}), "(\w+)\"""") <= explained
    signing = (ROOT / "kiosk" / "acquirer" / "signing.py").read_text()
    refusals = set(re.findall(r"""SignatureError\(\s*"(\w+)\"""", signing))
    assert {("401", code) for code in refusals} <= explained


def test_every_tls_refusal_is_explained_and_mended() -> None:
    from kiosk.acquirer import tls
    from kiosk.app import health

    source = Path(tls.__file__).read_text()
    codes = set(re.findall(r"""TlsError\(\s*"(\w+)\"""", source))
    codes |= {code for _, code, _ in tls._REASONS}
    assert codes == health._MEND_TLS.keys()
    section = PAGE[PAGE.index("## TLS") : PAGE.index("## Idempotency")]
    assert all(f"`{code}`" in section for code in codes)
