"""What it takes to bring a kiosk in step with a published gallery, and how soon a deletion has arrived.

    .venv/bin/python -m benchmarks.gallery_sync [--references 100000] [--deletions 10] [--poll 30]

First: a repository with one reference a person is published and served by a process of its own; kiosks in
fresh processes sync it for the first time, unchanged, after one deletion, and after a new epoch. Time, bytes
of files, peak memory of the process, and how much of the time went into comparing neighbours.
Then: a sandbox, and a kiosk that runs (kernel, journal, worker; no screen). Another kiosk tells the acquirer
that a person withdraws; the time is taken from that call until the running kiosk knows them no more.
Prints JSON. --deletions 0 leaves the second part out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.acquirer.client import Told
from kiosk.acquirer.operations import withdrawal_request
from kiosk.app.gallery_sync import open_sync
from kiosk.app.membership import enrol_at_acquirer
from kiosk.app.people import EnrolledPeople
from kiosk.app.wiring import Base, open_base, open_kiosk
from kiosk.app.workers import SystemClock
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.consent import Consent, Scope
from kiosk.gallery import follow
from kiosk.gallery.bench import Crowd
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.fetch import Fetcher, HttpTransport
from kiosk.gallery.follow import Follower
from kiosk.gallery.segment import SEGMENT_PEOPLE, Place, seal
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.sync import Repository
from kiosk.gallery.template import PayerRecord, Reference, Template
from kiosk.sandbox.keys import Terminals
from kiosk.sandbox.repository import Repository as Published
from kiosk.sandbox.repository import Target

MODEL = "bench-network"
REGION = "bench"
CLOSE_FROM = 0.999
Spawn = multiprocessing.get_context("spawn")


def records(epoch: Epoch, vectors: np.ndarray, first: int) -> list[PayerRecord]:
    turned = epoch.turn(vectors)
    return [
        PayerRecord(
            token=f"pyr-{first + number:08}",
            masked_name="*ing",
            masked_account="**** 4821",
            digits="1234",
            consent_ref=f"consent-{first + number:08}",
            enrolled_at_s=1_795_000_000,
            references=(Reference(Template.of(vector), MODEL),),
        )
        for number, vector in enumerate(turned)
    ]


class Publisher:
    """A gallery of `size` people in `folder`, in segments of a thousand."""

    def __init__(self, folder: Path, size: int) -> None:
        self._crowd, self._size = Crowd(size), size
        self.repository = Published(folder)
        self.repository.create()
        self.root = (folder / "root.json").read_bytes()
        self.tombstones(1, [])

    def people(self, epoch: Epoch, version: int, only: Sequence[int] = (), without: str = "") -> None:
        changes: dict[str, Any] = {}
        number = 0
        for start, block in self._crowd.blocks():
            for at in range(0, len(block), SEGMENT_PEOPLE):
                if not only or number in only:
                    held = records(epoch, block[at : at + SEGMENT_PEOPLE], start + at)
                    held = [one for one in held if one.token != without]
                    path = f"gallery/{epoch.id}/{number}.seg"
                    changes[path] = self.repository.put(path, self._target(epoch, number, version, held))
                number += 1
        self.repository.release({"gallery": changes})

    def drop(self, epoch: Epoch) -> None:
        listed = self.repository.state().listed("gallery")
        self.repository.release({"gallery": {path: None for path in listed if epoch.id in path}})

    def tombstones(self, version: int, tokens: Sequence[str]) -> None:
        said = {
            "version": version,
            "tokens": [{"token": one, "at": "2026-11-25T00:00:00Z"} for one in tokens],
        }
        path = f"tombstones/{REGION}.json"
        target = self.repository.put(path, Target(json.dumps(said).encode()))
        self.repository.release({"tombstones": {path: target}})

    @staticmethod
    def _target(epoch: Epoch, number: int, version: int, held: list[PayerRecord]) -> Target:
        custom = {
            "region": REGION,
            "epoch": epoch.number,
            "version": version,
            "people": len(held),
            "model_id": MODEL,
            "references": len(held),
        }
        return Target(seal(epoch.key("segment"), Place(epoch.id, number, version), held), custom)


def serve(folder: str, port: int) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    app = Starlette(routes=[Mount("/repo", StaticFiles(directory=folder))])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = Spawn.Process(target=serve, args=(str(folder), port), daemon=True)
    process.start()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/repo"
    finally:
        process.terminate()
        process.join()


def round_of(folder: str, url: str, root: bytes, epochs: list[Epoch], answer: Any) -> None:
    """One sync in a process of its own."""
    home = Path(folder)
    work = home / "repository"
    work.mkdir(exist_ok=True)
    compared = 0.0
    close_pairs = follow.close_pairs

    def timed(*args: Any, **named: Any) -> Any:
        nonlocal compared
        began = time.perf_counter()
        found = close_pairs(*args, **named)
        compared += time.perf_counter() - began
        return found

    follow.close_pairs = timed
    clock = SystemClock()
    store = GalleryStore(home / "gallery", SoftwareKey.load_or_create(home / "device.key"))
    fetcher = Fetcher(HttpTransport(url), clock, work)
    follower = Follower(
        store,
        work,
        lambda using: Repository(url, root, work, using),
        fetcher,
        clock,
        ask=lambda: epochs,
        model_id=MODEL,
        close_from=lambda people: CLOSE_FROM,
    )
    if store.stamp() is not None:
        follower.audited(store.load().gallery)  # as a kiosk that runs has it
    at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, processor = time.perf_counter(), time.process_time()
    done = follower.round()
    took, spent = time.perf_counter() - began, time.process_time() - processor
    answer.put(
        {
            "seconds": round(took, 2),
            "processor_seconds": round(spent, 2),
            "of_it_neighbours": round(compared, 2),
            "bytes": done.received,
            "segments": done.fetched,
            "deleted": len(done.deleted),
            "people": done.gallery.size if done.gallery else None,
            "peak_mb_before": round(at_rest / 1024),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    )


def measured(folder: Path, url: str, root: bytes, epochs: list[Epoch]) -> dict[str, Any]:
    answer = Spawn.Queue()
    process = Spawn.Process(target=round_of, args=(str(folder), url, root, epochs, answer))
    process.start()
    found: dict[str, Any] = answer.get(timeout=3600)
    process.join()
    return found


def syncs(size: int, folder: Path) -> dict[str, Any]:
    """First, unchanged, one deletion, a new epoch."""
    folder.mkdir()
    epoch, renewed = Epoch.new(REGION), Epoch.new(REGION, 2)
    began = time.perf_counter()
    publisher = Publisher(folder, size)
    publisher.people(epoch, 1)
    publishing = time.perf_counter() - began
    kiosk = folder / "kiosk"
    kiosk.mkdir()
    found: dict[str, Any] = {"references": size, "publishing_seconds": round(publishing, 1)}
    with served(publisher.repository.folder) as url:
        found["first"] = measured(kiosk, url, publisher.root, [epoch])
        found["unchanged"] = measured(kiosk, url, publisher.root, [epoch])
        gone = f"pyr-{size // 2:08}"
        publisher.tombstones(2, [gone])
        found["one_deletion"] = measured(kiosk, url, publisher.root, [epoch])
        publisher.people(epoch, 2, only=[size // 2 // SEGMENT_PEOPLE], without=gone)
        found["its_segment"] = measured(kiosk, url, publisher.root, [epoch])
        publisher.people(renewed, 1, without=gone)
        publisher.drop(epoch)
        found["new_epoch"] = measured(kiosk, url, publisher.root, [renewed, epoch])
    return found


# --- a deletion, end to end ---


def deletions(count: int, poll_s: float, folder: Path) -> dict[str, Any]:
    """Seconds from the acquirer's word on a withdrawal until a running kiosk knows the person no more."""
    from tests.sandbox.conftest import running

    times: list[float] = []
    with running(folder), open_base(folder, None) as teller:
        enrolled = [enrol(teller, number) for number in range(count)]
        other = folder / "other"
        prepare(folder, other, poll_s)
        with open_base(other, None) as base, open_kiosk(base, camera="pi") as kiosk:
            thread = threading.Thread(target=kiosk.kernel.run, daemon=True)
            thread.start()
            sync = open_sync(kiosk)
            if sync is None:
                raise RuntimeError("no root is pinned")
            sync.start()
            wait(lambda: all(kiosk.people.gallery.payer(one) for one in enrolled), 120)
            chance = np.random.default_rng(3)
            for token in enrolled:
                time.sleep(float(chance.uniform(0, poll_s)))  # any phase of the poll
                told = teller.client().send(withdrawal_request(token))
                if not isinstance(told, Told):
                    raise RuntimeError(f"the acquirer says {told}")
                began = time.monotonic()
                wait(partial(gone, kiosk.people, token), 120)
                times.append(time.monotonic() - began)
            sync.close()
            kiosk.kernel.stop()
            thread.join(10)
    return {
        "n": count,
        "poll_s": poll_s,
        "median_s": round(float(np.median(times)), 1),
        "longest_s": round(max(times), 1),
    }


def enrol(base: Base, number: int) -> str:
    """A person who does not exist, at the acquirer; their token."""
    vector = np.random.default_rng(number).normal(size=192).astype(np.float32)
    vector /= np.linalg.norm(vector)
    version = max(base.consent_texts.versions())
    text = base.consent_texts.find(version, "en")
    why = base.fetch_policy()
    if text is None or why:
        raise RuntimeError(why or "no consent text")
    consent = Consent(version, text.sha256, "en", (Scope.PAY,), time.time(), 30)
    answer, why = enrol_at_acquirer(base, vector, consent, account=f"bench-{number}", digits="1234")
    if answer is None:
        raise RuntimeError(why)
    return answer.token


def prepare(folder: Path, other: Path, poll_s: float) -> None:
    """Another kiosk, known to the sandbox, that has what its acquirer hands over."""
    other.mkdir()
    for name in ("acquirer.json", "scheme.json", "root.json"):
        shutil.copy(folder / "sandbox" / name, other / name)
    own = f'[store]\nterminal_id = "T-DEMO-0002"\n[gallery]\npoll_s = {poll_s}\n'
    (other / "kiosk.toml").write_text(own)
    SoftwareKey.load_or_create(other / "device.key")
    Terminals(folder / "sandbox", folder).register(other / "device.pub")


def gone(people: EnrolledPeople, token: str) -> bool:
    return people.gallery.payer(token) is None


def wait(done: Callable[[], bool], most_s: float) -> None:
    until = time.monotonic() + most_s
    while not done():
        if time.monotonic() > until:
            raise TimeoutError("it did not come to pass")
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--references", type=int, default=100_000)
    parser.add_argument("--deletions", type=int, default=10)
    parser.add_argument("--poll", type=float, default=30.0)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if asked.references:
            found["sync"] = syncs(asked.references, Path(folder) / "sync")
        if asked.deletions:
            shop = Path(folder) / "shop"
            shop.mkdir()
            found["deletion"] = deletions(asked.deletions, asked.poll, shop)
    json.dump(found, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
