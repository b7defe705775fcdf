"""docs/openapi.json against a real sandbox: whatever is asked, no failure, and every answer is as it says.

schemathesis makes the calls, right ones and wrong ones; each is signed as a kiosk signs, so that it gets past
the signature to the parsers behind it. A sample here; thousands with `make protocol-test`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi import checks

from kiosk.acquirer.signing import HttpAnswer, Signer, TrustedKeys, sign_request, verify_answer
from kiosk.sandbox.server import ROUTES

from ..acquirer.parts import Now, a_payment, an_effect
from .conftest import Running, running

DOCUMENT = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text())
CALLS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
WHOLE = os.environ.get("PROTOCOL_TESTS") == "whole"
US = {"merchant_id": "m-100", "store_id": "s-1", "terminal_id": "t-7", "mode": "test", "version": 1}
CONFORMS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def acquirer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox of its own: what is asked here leaves traces that other tests do not expect."""
    with running(tmp_path_factory.mktemp("acquirer")) as started:
        started.client().send(a_payment(an_effect()))  # binds the key to our terminal
        yield started


def ask(acquirer: Running, case: Case) -> tuple[requests.Response, bytes]:
    """The call as a kiosk would make it: signed, whatever is in it. A kiosk verifies the answer, so we do."""
    made = case.as_transport_kwargs(base_url=acquirer.address)
    wanted = {name: made[name] for name in ("method", "url", "data", "json", "params") if made.get(name)}
    prepared = requests.Request(**wanted).prepare()
    body = prepared.body if isinstance(prepared.body, bytes) else (prepared.body or "").encode()
    needs_key = case.method == "POST"
    signed = sign_request(
        Signer(acquirer.key, Now()),
        case.method,
        prepared.url or "",
        body=body if needs_key else None,
        idempotency_key=key_for(body, case) if needs_key else None,
    )
    prepared.headers.clear()
    prepared.headers.update(signed.headers)
    if body:
        prepared.headers["Content-Length"] = str(len(body))
    with requests.Session() as session:
        response = session.send(prepared, timeout=10)
    if "Signature" in response.headers:
        answer = HttpAnswer(response.status_code, response.headers, signed)
        verify_answer(answer, response.content, TrustedKeys(acquirer.trust.acquirer_keys), Now())
    else:
        assert response.status_code == 401
    return response, body


def key_for(body: bytes, case: Case) -> str:
    try:
        named = json.loads(body)
        key = f"{named['ref']}:{named['operation']}:{named.get('number', 1)}"
        if key.isascii() and key.isprintable():  # what no header can carry no kiosk can send
            return key
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return f"x:{case.operation.label.split('/')[-1]}:1"


def conforms(acquirer: Running, case: Case, *more: Any) -> requests.Response:
    response, _ = ask(acquirer, case)
    assert response.status_code != 500, response.text
    case.validate_response(response, checks=[*CONFORMS, *more])
    return response


def cases(path: str, method: str, mode: GenerationMode) -> st.SearchStrategy[Case]:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]
    return operation.as_strategy(generation_mode=mode)


def ours(case: Case) -> Case:
    """The same call by the terminal that the key speaks for: what is behind that check is reached."""
    if isinstance(case.body, dict):
        case.body |= US
        if "ref" in case.path_parameters and "ref" in case.body:
            case.path_parameters["ref"] = case.body["ref"]
    return case


def test_the_sandbox_serves_what_the_file_says_and_nothing_else() -> None:
    served = {(route.path.replace(":path", ""), route.method.lower()): route.operation for route in ROUTES}
    said = {(path, method): DOCUMENT["paths"][path][method]["operationId"] for path, method in CALLS}
    assert served == said


sampled = settings(
    max_examples=250 if WHOLE else 12,
    suppress_health_check=list(HealthCheck),
    derandomize=not WHOLE,
    database=None,
    phases=[Phase.generate],  # what fails is printed as it was; making it short takes minutes here
)


@pytest.mark.parametrize(("path", "method"), CALLS)
def test_every_call_is_answered_as_the_file_says(acquirer: Running, path: str, method: str) -> None:
    @sampled
    @given(case=cases(path, method, GenerationMode.POSITIVE))
    def run(case: Case) -> None:
        conforms(acquirer, ours(case))

    run()


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method in CALLS if method == "post"])
def test_every_wrong_body_is_refused(acquirer: Running, path: str, method: str) -> None:
    @sampled
    @given(case=cases(path, method, GenerationMode.NEGATIVE))
    def run(case: Case) -> None:
        response = conforms(acquirer, case)
        assert 400 <= response.status_code < 500, response.text

    run()
