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
