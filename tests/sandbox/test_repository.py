"""The published repository by python-tuf's own client: what it takes and refuses, what is left on disk."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import Updater

from kiosk.domain.errors import OperatorError
from kiosk.sandbox import repository as publishing
from kiosk.sandbox.repository import KEEP_S, LANES, Repository, Target

SEGMENT = "gallery/0011223344556677/0.seg"


class Quiet(SimpleHTTPRequestHandler):
    """Any web server: plain files."""

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Kiosk:
    """What a kiosk keeps, and python-tuf's client on it."""

    def __init__(self, folder: Path, url: str, root: bytes) -> None:
        self.folder, self._url, self._root = folder, url, root
        folder.mkdir()

    def updater(self) -> Updater:
        metadata, targets = self._url + "metadata/", self._url + "targets/"
        made = Updater(str(self.folder), metadata, str(self.folder), targets, bootstrap=self._root)
        made.refresh()
        return made

    def fetch(self, path: str) -> bytes | None:
        updater = self.updater()
        found = updater.get_targetinfo(path)
        return Path(updater.download_target(found)).read_bytes() if found else None


@pytest.fixture
def now() -> list[float]:
    """This machine's time, which python-tuf's client goes by; a test moves it on the publisher's side."""
    return [publishing.time.time()]


@pytest.fixture
def repository(tmp_path: Path, now: list[float]) -> Repository:
    made = Repository(tmp_path / "sandbox", lambda: now[0])
    assert not made.exists
    made.create()
    return made


@pytest.fixture
def kiosk(tmp_path: Path, repository: Repository) -> Iterator[Kiosk]:
    with served(repository.folder) as url:
        yield Kiosk(tmp_path / "kiosk", url, (tmp_path / "sandbox" / "root.json").read_bytes())


def publish(repository: Repository, lane: str, path: str, content: bytes, **custom: Any) -> None:
    made = repository.put(path, Target(content, custom or None))
    repository.release({lane: {path: made}})


def files(repository: Repository) -> set[str]:
    return {
        str(path.relative_to(repository.folder)) for path in repository.folder.rglob("*") if path.is_file()
    }


def test_what_is_released_is_fetched_and_verified_by_whoever_pinned_the_root(repository, kiosk):
    assert kiosk.fetch(SEGMENT) is None
    publish(repository, "gallery", SEGMENT, b"sealed", region="north", version=3)
    assert kiosk.fetch(SEGMENT) == b"sealed"
    assert kiosk.updater().get_targetinfo(SEGMENT).custom == {"region": "north", "version": 3}
    repository.release({"gallery": {SEGMENT: None}})
    assert kiosk.fetch(SEGMENT) is None


def test_each_lane_speaks_for_its_own_paths_only(repository, kiosk):
    publish(repository, "models", "consent/v1/en.json", b"{}")
    assert kiosk.fetch("consent/v1/en.json") is None
    publish(repository, "texts", "consent/v1/en.json", b"{}")
    assert kiosk.fetch("consent/v1/en.json") == b"{}"


def test_nothing_new_is_released_when_there_is_nothing_to_do(repository):
    before = files(repository)
    assert repository.release() is False
    assert files(repository) == before


def test_what_is_half_over_is_signed_anew_and_only_that(repository, now, kiosk):
    kiosk.updater()
    now[0] += 1_900
    assert repository.release() is True
    state = repository.state()
    assert (state.timestamp.signed.version, state.snapshot.signed.version) == (2, 1)
    now[0] += 4 * 86_400
    repository.release()
    state = repository.state()
    assert {name: role.signed.version for name, role in state.roles.items()} == {
        "targets": 1, "gallery": 2, "tombstones": 2, "models": 1, "texts": 1,
    }  # fmt: skip
    kiosk.updater()


def test_a_publisher_that_sleeps_is_noticed(tmp_path, now):
    asleep = Repository(tmp_path / "sandbox", lambda: now[0] - 3_700)
    asleep.create()
    root = (tmp_path / "sandbox" / "root.json").read_bytes()
    with served(asleep.folder) as url, pytest.raises(ExpiredMetadataError):
        Kiosk(tmp_path / "kiosk", url, root).updater()


def test_old_files_stay_for_downloads_under_way_and_are_gone_after(repository, now):
    publish(repository, "gallery", SEGMENT, b"the first")
    first = files(repository)
    publish(repository, "gallery", SEGMENT, b"the second")
    assert first < files(repository)
    now[0] += KEEP_S - 1
    repository.release({"gallery": {}})
    assert first < files(repository)
    now[0] += 2_000  # the timestamp is due: a release sweeps
    repository.release()
    left = files(repository)
    assert len([name for name in left if name.endswith(".seg")]) == 1
    assert sorted(name for name in left if name.endswith("gallery.json")) == ["metadata/3.gallery.json"]
    assert "metadata/1.root.json" in left


def test_cut_off_before_the_timestamp_is_the_state_before_and_goes_on(repository, kiosk, monkeypatch):
    publish(repository, "gallery", SEGMENT, b"before")

    def cut_off(path: Path, content: bytes) -> None:
        if path.name == "timestamp.json":
            raise KeyboardInterrupt
        real(path, content)

    real = publishing.write
    monkeypatch.setattr(publishing, "write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        publish(repository, "gallery", SEGMENT, b"after")
    assert kiosk.fetch(SEGMENT) == b"before"
    monkeypatch.undo()
    again = Repository(repository.folder.parent)
    publish(again, "gallery", SEGMENT, b"after")
    assert kiosk.fetch(SEGMENT) == b"after"


def test_all_keys_can_be_replaced_and_kiosks_that_pinned_the_first_root_follow(repository, kiosk, tmp_path):
    publish(repository, "gallery", SEGMENT, b"sealed")
    assert kiosk.fetch(SEGMENT) == b"sealed"
    before = {path.name for path in tmp_path.rglob("*.key")}
    roles = ["root", "targets", "snapshot", "timestamp", *LANES]
    made = repository.rotate(roles)
    after = {path.name for path in tmp_path.rglob("*.key")}
    assert len(before) == len(after) == len(made) == 10
    assert not before & after
    publish(repository, "gallery", SEGMENT, b"sealed again")
    assert kiosk.fetch(SEGMENT) == b"sealed again"


def test_who_has_an_old_key_is_believed_no_more(repository, kiosk, tmp_path):
    kiosk.updater()
    stolen = tmp_path / "stolen"
    shutil.copytree(tmp_path / "sandbox" / "repository-keys", stolen)
    repository.rotate(["timestamp"])
    (tmp_path / "sandbox" / "repository-keys").rename(tmp_path / "kept")
    stolen.rename(tmp_path / "sandbox" / "repository-keys")
    with pytest.raises(OperatorError, match=r"key of the role timestamp is missing.*--replace timestamp"):
        publish(repository, "gallery", SEGMENT, b"forged")


def test_one_key_of_the_root_s_three_may_be_lost(repository, kiosk, tmp_path):
    lost, *_ = sorted((tmp_path / "sandbox" / "root-keys").iterdir())
    lost.unlink()
    (made,) = repository.rotate([lost.stem])
    kiosk.updater()
    root = Metadata[Root].from_bytes((kiosk.folder / "root.json").read_bytes()).signed
    assert (root.version, root.roles["root"].threshold, len(root.roles["root"].keyids)) == (2, 2, 3)
    assert made.removeprefix("root-") in {keyid[:8] for keyid in root.roles["root"].keyids}


def test_the_root_s_keys_may_lie_elsewhere_and_two_are_needed(repository, kiosk, tmp_path):
    away = tmp_path / "safe"
    (tmp_path / "sandbox" / "root-keys").rename(away)
    with pytest.raises(OperatorError, match=r"2 of the root's keys are needed.*--root-keys"):
        repository.rotate(["timestamp"])
    repository.rotate(["timestamp"], [away])
    kiosk.updater()
    for path in sorted(away.iterdir())[:2]:
        path.unlink()
    with pytest.raises(OperatorError, match="2 of the root's keys"):
        repository.rotate(["timestamp"], [away])


def test_a_name_that_no_key_has_is_said(repository):
    with pytest.raises(OperatorError, match=r"'clock'.*timestamp"):
        repository.rotate(["clock"])


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_damaged_metadata_and_damaged_keys_are_said(repository, tmp_path, content):
    path = repository.folder / "metadata" / "1.snapshot.json"
    kept = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=r"1\.snapshot\.json"):
        Repository(tmp_path / "sandbox").state()
    path.write_bytes(kept)
    (tmp_path / "sandbox" / "repository-keys" / "x.key").write_bytes(content)
    with pytest.raises(OperatorError, match=r"Ed25519.*x\.key|x\.key.*Ed25519"):
        publish(repository, "gallery", SEGMENT, b"sealed")


def test_a_changed_file_is_refused_by_the_client(repository, kiosk):
    publish(repository, "gallery", SEGMENT, b"sealed")
    (place,) = repository.folder.rglob("*.seg")
    place.write_bytes(b"forged")
    with pytest.raises(RepositoryError):
        kiosk.fetch(SEGMENT)
    place.unlink()
    with pytest.raises(DownloadHTTPError):
        kiosk.fetch(SEGMENT)


def test_keys_and_metadata_are_readable_by_their_owner_only(repository, tmp_path):
    folders = [tmp_path / "sandbox" / name for name in ("root-keys", "repository-keys")]
    for path in (*folders, *(path for path in (tmp_path / "sandbox").rglob("*") if path.is_file())):
        assert path.stat().st_mode & 0o077 == 0, path
