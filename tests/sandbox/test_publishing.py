"""A running sandbox publishes by itself and serves what it published, by name and range and nothing else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import requests
from tuf.ngclient import Updater

from kiosk.acquirer.messages import encode, utc
from kiosk.acquirer.operations import ConsentMessage, withdrawal_request
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError
from kiosk.sandbox.ledger import Ledger, Person
from kiosk.sandbox.publisher import Publisher
from kiosk.sandbox.publishing import Publishing
from kiosk.sandbox.templates import Templates

from .conftest import Running, running

SOON_S = 60.0


@pytest.fixture(scope="module")
def acquirer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox of its own: other tests enrol nobody into it."""
    with running(tmp_path_factory.mktemp("publishing")) as started:
        yield started


def enrol(folder: Path, token: str) -> None:
    """Into the books of a sandbox, as another process does it."""
    with closing(Ledger(folder / "ledger.sqlite")) as ledger, ledger.transaction():
        consent = ConsentMessage(
            text_version="v1", text_sha256=GENESIS, language="en", scope=("pay",), given_at=utc(0),
            keep_until=utc(time.time() + 1e6), of_age=True,
        )  # fmt: skip
        sealed = Templates(folder).seal(token, np.eye(192, dtype=np.float32)[0])
        ledger.enrol(
            Person(token, time.time(), "wallet-a", f"c-{token}", encode(consent), "net-1", sealed, None)
        )


def until(there: Callable[[], bool]) -> None:
    """Wait for another process, on the real clock."""
    deadline = time.monotonic() + SOON_S
    while not there():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.05)


class Follower:
    """A kiosk that pinned the sandbox's root."""

    def __init__(self, sandbox: Running, folder: Path) -> None:
        self._url, self._folder = f"{sandbox.address}/repo/", folder
        self._root = (sandbox.folder / "sandbox" / "root.json").read_bytes()

    def file(self, path: str) -> bytes | None:
        metadata, targets = self._url + "metadata/", self._url + "targets/"
        updater = Updater(str(self._folder), metadata, str(self._folder), targets, bootstrap=self._root)
        found = updater.get_targetinfo(path)
        return Path(updater.download_target(found)).read_bytes() if found else None

    def withdrawn(self) -> list[str]:
        told = self.file("tombstones/sandbox.json")
        return [one["token"] for one in json.loads(told)["tokens"]] if told else []


def test_who_enrols_is_out_soon_and_who_withdraws_is_told_of_soon(acquirer: Running, tmp_path: Path) -> None:
    from kiosk.sandbox.epochs import Epochs

    follower = Follower(acquirer, tmp_path)
    (epoch,) = Epochs(acquirer.folder / "sandbox").all()
    assert follower.file(f"gallery/{epoch.id}/1.seg") is None
    enrol(acquirer.folder / "sandbox", "pyr-soon")
    until(lambda: follower.file(f"gallery/{epoch.id}/1.seg") is not None)
    acquirer.client().send(withdrawal_request("pyr-soon"))
    until(lambda: "pyr-soon" in follower.withdrawn())
    until(lambda: follower.file(f"gallery/{epoch.id}/1.seg") is None)


def test_a_part_of_a_file_can_be_asked_for_and_an_unchanged_one_is_not_sent_again(acquirer: Running) -> None:
    url = f"{acquirer.address}/repo/metadata/1.root.json"
    whole = requests.get(url, timeout=10)
    assert whole.content == (acquirer.folder / "sandbox" / "root.json").read_bytes()
    part = requests.get(
        url, headers={"Range": "bytes=100-199", "If-Range": whole.headers["ETag"]}, timeout=10
    )
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    rest = requests.get(url, headers={"Range": "bytes=100-"}, timeout=10)
    assert rest.content == whole.content[100:]
    assert requests.get(url, headers={"Range": f"bytes={10**9}-"}, timeout=10).status_code == 416
    again = requests.get(url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/repo/../acquirer.key",
        "/repo/..%2facquirer.key",
        "/repo/%2e%2e/acquirer.key",
        "/repo/metadata/../../root-keys",
        "/repo/metadata/..%5c..%5cacquirer.key",
        "/repo//etc/passwd",
        "/repo/%00",
        "/repo/" + "x" * 5_000,
        "/repo",
        "/repo/",
        "/repo/metadata",
        "/repo/linked",
    ],
)
def test_nothing_outside_the_repository_and_no_folder_is_served(acquirer: Running, path: str) -> None:
    link = acquirer.folder / "sandbox" / "repository" / "linked"
    if not link.is_symlink():
        link.symlink_to(acquirer.folder / "sandbox" / "acquirer.key")
    with requests.Session() as session:
        asked = requests.Request("GET", acquirer.address).prepare()
        asked.url = acquirer.address + path  # as it is: not made tidy on the way
        assert session.send(asked, timeout=10, allow_redirects=False).status_code in (404, 405, 307)


def test_what_is_served_can_only_be_read(acquirer: Running) -> None:
    for method in ("POST", "PUT", "DELETE"):
        for path in ("metadata/timestamp.json", "metadata/1.root.json"):
            answer = requests.request(method, f"{acquirer.address}/repo/{path}", data=b"x", timeout=10)
            assert answer.status_code == 405


@pytest.mark.parametrize(
    "problem", [OperatorError("the disk is full"), ValueError("a bug: the disk is full")]
)
def test_what_can_t_be_published_is_logged_and_tried_again(tmp_path, clock, monkeypatch, caplog, problem):
    tries = threading.Semaphore(0)
    real = Publisher.publish

    def publish(self: Publisher) -> bool:
        tries.release()
        if first.is_set():
            return real(self)
        first.set()
        raise problem

    first = threading.Event()
    monkeypatch.setattr(Publisher, "publish", publish)
    monkeypatch.setattr("kiosk.sandbox.publishing.POLL_S", 0.01)
    monkeypatch.setattr("kiosk.sandbox.publishing.PAUSE_S", 0.01)
    with closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        publishing = Publishing(tmp_path, ledger, clock)
        assert not publishing.is_behind(0, 0)
        with publishing:
            assert tries.acquire(timeout=SOON_S)
            assert tries.acquire(timeout=SOON_S)
            until(lambda: publishing.is_behind(0, 0))
            assert not publishing.is_behind(0, 1)  # of nobody there is no epoch to lack
            publishing.wake()
    assert "the disk is full" in caplog.text
