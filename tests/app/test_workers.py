"""The workers that call the acquirer: they never hold up the kernel, and no call is without an end."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest

from kiosk.acquirer.client import AcquirerClient, Lost, Reply, Unsent
from kiosk.acquirer.messages import Exchange, status_request
from kiosk.app.workers import AcquirerWorkers, SystemClock
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.errors import OperatorError

REFS = [f"0198c5a0-0000-7000-8000-{number:012x}" for number in range(4)]


class Stuck:
    """A client whose calls end when the test lets them."""

    def __init__(self) -> None:
        self.go, self.calling = threading.Event(), threading.Semaphore(0)

    def send(self, exchange: Exchange) -> Reply:
        self.calling.release()
        self.go.wait()
        return Lost("no answer")


@pytest.mark.timeout(20)
def test_a_payment_for_which_no_line_is_free_is_not_sent_and_the_kernel_does_not_wait() -> None:
    client = Stuck()
    workers = AcquirerWorkers(lambda: client)  # type: ignore[arg-type,return-value]
    replies: queue.SimpleQueue[tuple[str, Reply]] = queue.SimpleQueue()

    def submit(ref: str) -> None:
        workers.submit(status_request(ref), lambda reply: replies.put((ref, reply)), behind=False)

    submit(REFS[0])
    client.calling.acquire()  # the first is under way; one more may wait
    for ref in REFS[1:]:
        submit(ref)
    refused = [replies.get(), replies.get()]
    assert {ref for ref, _ in refused} == set(REFS[2:])
    assert all(isinstance(reply, Unsent) for _, reply in refused)
    client.go.set()
    assert [replies.get()[0], replies.get()[0]] == REFS[:2]
    workers.close(5)


def test_a_key_that_fails_sends_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SoftwareKey.load_or_create(tmp_path / "device.key")

    def gone(message: bytes) -> bytes:
        raise OperatorError("the token does not answer", do="Put it back.")

    monkeypatch.setattr(key, "sign", gone)
    client = AcquirerClient("http://127.0.0.1:9", key, {}, SystemClock())
    reply = client.send(status_request(REFS[0]))
    assert isinstance(reply, Unsent)
    assert "the token does not answer" in reply.why


def test_without_a_key_to_sign_with_every_call_still_has_its_end() -> None:
    def no_key() -> AcquirerClient:
        raise OperatorError("this kiosk has no key on its token yet", do="Run `kiosk keys make`.")

    workers = AcquirerWorkers(no_key)
    replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    for behind in (False, True):
        workers.submit(status_request(REFS[0]), replies.put, behind=behind)
        reply = replies.get()
        assert isinstance(reply, Unsent)
        assert "kiosk keys make" in reply.why
    workers.close(5)
