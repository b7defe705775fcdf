"""The attacks TUF is made against, each on a repository that a test turns hostile (its specification, 1.5.2).

Each is refused with a cause and a line of its own. That the gallery stays as it was is tested with the sync.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile

from kiosk.gallery.epoch import Epoch
from kiosk.gallery.fetch import GRACE_S, LEAST_BYTES_S, Fetcher, Paused
from kiosk.gallery.sync import Cause, Repository, SyncRefused
from tests.gallery.hosted import REGION, URL, Hosted, Line, later
from tests.gallery.people import people, record

EPOCH = Epoch(REGION, 1, b"e" * 32)
TIMESTAMP = "metadata/timestamp.json"


class Client:
    """A kiosk's folder, and a repository that is opened anew for each sync, as the kiosk does."""

    def __init__(self, hosted: Hosted, folder: Path, clock: Any) -> None:
        self.hosted, self.line = hosted, Line(hosted)
        self.folder = folder
        self.fetcher = Fetcher(self.line, clock, folder)

    def repository(self) -> Repository:
        return Repository(URL, self.hosted.pinned, self.folder, self.fetcher)

    def sync(self) -> Repository:
        repository = self.repository()
        repository.refresh()
        repository.tombstones(REGION)
        for one in repository.segments(REGION):
            repository.segment(one)
        return repository

    def refused(self) -> SyncRefused:
        with pytest.raises(SyncRefused) as caught:
            self.sync()
        return caught.value


def publish(hosted: Hosted, version: int = 1, count: int = 3) -> None:
    enrolled = [record(token, vectors) for token, vectors in people(count).items()]
    hosted.segment(EPOCH, 0, version, enrolled)
    hosted.publish("gallery")


@pytest.mark.parametrize("digest", ["", "\0", "../" * 3 + "0" * 55, "0" * 63, "A" * 64])
def test_a_segment_whose_hash_is_none_names_no_file(tmp_path: Path, clock: Any, digest: str) -> None:
    """Whoever has the key of the gallery's role alone brings no kiosk down, and reads no file of it."""
    hosted = Hosted()
    publish(hosted)
    (target,) = hosted.delegated["gallery"].targets.values()
    target.hashes["sha256"] = digest
    hosted.publish("gallery")
    assert Client(hosted, tmp_path, clock).refused().cause is Cause.MALFORMED


def newest_segment(client: Client) -> str:
    return [path for path in client.hosted.files if path.endswith(".seg")][-1]


@pytest.fixture(params=[True, False], ids=["hashed", "by-version"])
def hosted(request: pytest.FixtureRequest) -> Hosted:
    """Lists of metadata may name hashes, or versions only: every attack is tried on both."""
    hosted = Hosted(hashed=request.param)
    publish(hosted)
    return hosted


@pytest.fixture
def client(hosted: Hosted, tmp_path: Path, clock: Any) -> Client:
    return Client(hosted, tmp_path, clock)


def test_an_honest_repository_is_believed(client: Client) -> None:
    repository = client.sync()

    (one,) = repository.segments(REGION)
    assert (one.epoch_id, one.number, one.people, one.references) == (EPOCH.id, 0, 3, 6)
    assert repository.tombstones(REGION).version == 1
    assert repository.segments("south") == ()


def test_nothing_but_the_timestamp_is_fetched_while_nothing_changed(client: Client) -> None:
    client.sync()
    client.line.paths()

    client.sync()

    tombstones = [path for path in client.line.paths() if not path.startswith("targets/tombstones/")]
    assert tombstones == ["metadata/2.root.json", TIMESTAMP]


def test_an_older_timestamp_is_a_rollback(client: Client) -> None:
    old = client.hosted.files[TIMESTAMP]
    client.hosted.publish()
    client.sync()

    client.hosted.files[TIMESTAMP] = old

    refusal = client.refused()
    assert refusal.cause is Cause.ROLLBACK
    assert "older state than this kiosk has seen" in str(refusal)


def test_a_newer_timestamp_that_lists_an_older_snapshot_is_a_rollback(client: Client) -> None:
    client.sync()
    hosted = client.hosted
    hosted.timestamp.snapshot_meta = MetaFile(hosted.snapshot.version - 1)
    hosted.publish_timestamp()

    assert client.refused().cause is Cause.ROLLBACK


def test_a_newer_snapshot_that_lists_an_older_role_is_a_rollback(client: Client) -> None:
    client.sync()
    hosted = client.hosted
    hosted.snapshot.meta["gallery.json"] = MetaFile(hosted.delegated["gallery"].version - 1)
    hosted.publish_snapshot()

    assert client.refused().cause is Cause.ROLLBACK


def test_a_snapshot_that_forgets_a_role_is_refused(client: Client) -> None:
    client.sync()
    hosted = client.hosted
    del hosted.snapshot.meta["tombstones.json"]
    hosted.publish_snapshot()

    assert client.refused().cause is Cause.MALFORMED


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "gallery", "tombstones"])
def test_what_has_expired_is_a_freeze(client: Client, role: str) -> None:
    client.sync()
    hosted = client.hosted
    signed = hosted.delegated.get(role) or getattr(hosted, role)
    signed.expires = later(seconds=-1)
    hosted.publish()

    refusal = client.refused()
    assert refusal.cause is Cause.FREEZE
    assert "expired" in str(refusal)


def test_a_root_that_has_expired_is_a_freeze(client: Client) -> None:
    client.hosted.root.version += 1
    client.hosted.root.expires = later(seconds=-1)
    client.hosted.publish_root()

    assert client.refused().cause is Cause.FREEZE


def test_a_snapshot_of_another_state_is_mix_and_match(client: Client) -> None:
    hosted = client.hosted
    old = hosted.files[f"metadata/{hosted.snapshot.version}.snapshot.json"]
    hosted.publish()
    hosted.files[f"metadata/{hosted.snapshot.version}.snapshot.json"] = old

    refusal = client.refused()
    assert refusal.cause is Cause.MIX_AND_MATCH
    assert "different states" in str(refusal)


@pytest.mark.parametrize("role", ["gallery", "tombstones", "targets"])
def test_a_role_of_another_state_is_mix_and_match(client: Client, role: str) -> None:
    hosted = client.hosted
    signed = hosted.delegated.get(role) or hosted.targets
    old = hosted.files[f"metadata/{signed.version}.{role}.json"]
    hosted.publish()
    hosted.files[f"metadata/{signed.version}.{role}.json"] = old

    assert client.refused().cause is Cause.MIX_AND_MATCH


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "gallery", "tombstones"])
def test_what_another_key_signed_is_refused(client: Client, role: str) -> None:
    client.sync()
    client.hosted.signers[role] = CryptoSigner.generate_ed25519()
    client.hosted.publish()

    refusal = client.refused()
    assert refusal.cause is Cause.WRONG_KEY
    assert "pinned root" in str(refusal)


def test_the_key_of_one_role_signs_for_no_other(client: Client) -> None:
    """Whoever has the texts' key can't publish people."""
    client.sync()
    client.hosted.signers["gallery"] = client.hosted.signers["texts"]
    client.hosted.publish()

    assert client.refused().cause is Cause.WRONG_KEY


def test_one_key_of_the_root_is_not_enough_for_another_root(client: Client) -> None:
    client.sync()
    client.hosted.root.version += 1
    client.hosted.publish_root(client.hosted.root_signers[:1])

    assert client.refused().cause is Cause.WRONG_KEY


def test_a_segment_outside_its_role_is_not_listed(client: Client) -> None:
    client.hosted.delegated["texts"].targets |= client.hosted.delegated["gallery"].targets
    client.hosted.delegated["gallery"].targets.clear()
    client.hosted.publish()

    assert client.sync().segments(REGION) == ()


@pytest.mark.parametrize("path", ["metadata/2.root.json", TIMESTAMP])
def test_metadata_without_an_end_is_cut_off(client: Client, path: str) -> None:
    client.sync()
    client.hosted.files[path] = b"{"
    client.line.instead[path] = lambda content: itertools.repeat(b"x" * 4096)

    refusal = client.refused()
    assert refusal.cause is Cause.ENDLESS_DATA
    assert "more than a file may be long" in str(refusal)


def test_a_segment_without_an_end_is_cut_off_at_its_length(client: Client) -> None:
    (path,) = (path for path in client.hosted.files if path.endswith(".seg"))
    client.line.instead[path] = lambda content: itertools.chain([content], itertools.repeat(b"x" * 4096))
    before = client.fetcher.received

    assert client.refused().cause is Cause.ENDLESS_DATA
    assert client.fetcher.received - before < 100_000
    assert not list(client.folder.glob("*.part"))


def test_a_segment_that_is_listed_as_huge_is_not_fetched(client: Client) -> None:
    for target in client.hosted.delegated["gallery"].targets.values():
        target.length = 2**40
    client.hosted.publish()

    assert client.refused().cause is Cause.ENDLESS_DATA
    assert not [path for path in client.line.paths() if path.endswith(".seg")]


@pytest.mark.parametrize("what", ["changed", "cut", "none"])
def test_a_file_that_is_not_the_signed_one_is_refused(client: Client, what: str) -> None:
    (path,) = (path for path in client.hosted.files if path.endswith(".seg"))
    content = client.hosted.files[path]
    if what == "none":
        del client.hosted.files[path]
    else:
        client.hosted.files[path] = content[:-1] if what == "cut" else content[:-1] + bytes([content[-1] ^ 1])

    expected = Cause.INCOMPLETE if what == "none" else Cause.ALTERED
    assert client.refused().cause is expected
    client.hosted.files[path] = content
    assert client.sync().segments(REGION)


@pytest.mark.parametrize(
    "page", [b"<html>Welcome to our Wi-Fi</html>", b"\xff\x00", b"{}", b'{"signed": {}}']
)
def test_another_page_in_its_place_is_no_repository(client: Client, page: bytes) -> None:
    client.sync()
    client.hosted.files[TIMESTAMP] = page

    refusal = client.refused()
    assert refusal.cause is Cause.MALFORMED
    assert "another page" in str(refusal)


def test_a_line_that_is_down_is_no_attack(client: Client) -> None:
    client.sync()
    client.line.down = True

    refusal = client.refused()
    assert refusal.cause is Cause.UNREACHABLE
    assert "connection refused" in str(refusal)


def test_a_trickle_is_slow_retrieval(client: Client, clock: Any) -> None:
    """A byte now and then keeps any socket's time-out away: the least rate ends it."""
    client.sync()
    client.hosted.publish()

    def trickle(content: bytes) -> Iterator[bytes]:
        for byte in content:
            clock.advance(900)
            yield bytes([byte])

    client.line.instead[TIMESTAMP] = trickle
    started = clock.monotonic_ms()

    refusal = client.refused()

    assert refusal.cause is Cause.SLOW
    assert "too slowly" in str(refusal)
    assert clock.monotonic_ms() - started < 1000 * (GRACE_S + 2)


def test_a_burst_before_the_trickle_buys_only_what_it_would_have_taken(client: Client, clock: Any) -> None:
    publish(client.hosted, 2, 60)
    path = newest_segment(client)

    def burst(content: bytes) -> Iterator[bytes]:
        yield content[:LEAST_BYTES_S]
        for byte in content[LEAST_BYTES_S:]:
            clock.advance(1000)
            yield bytes([byte])

    client.line.instead[path] = burst
    started = clock.monotonic_ms()

    assert client.refused().cause is Cause.SLOW
    assert clock.monotonic_ms() - started < 1000 * (GRACE_S + 3)


def test_a_slow_line_that_keeps_the_least_rate_is_put_up_with(client: Client, clock: Any) -> None:
    publish(client.hosted, 2, 200)
    client.line.piece = 4096
    client.line.before_piece = lambda path: clock.advance(500)

    assert client.sync().segments(REGION)


def test_silence_is_slow_retrieval(client: Client) -> None:
    client.sync()

    def silent(content: bytes) -> Iterator[bytes]:
        raise TimeoutError
        yield b""

    client.line.instead[TIMESTAMP] = silent
    assert client.refused().cause is Cause.SLOW


def test_a_body_in_chunks_is_refused(client: Client) -> None:
    """The line with a chunk's length can be sent a digit at a time, where no rate is looked at."""
    client.line.headers["transfer-encoding"] = "chunked"

    assert client.refused().cause is Cause.INCOMPLETE


def test_a_broken_download_goes_on_where_it_stopped(client: Client) -> None:
    publish(client.hosted, 2, 60)
    path = newest_segment(client)
    client.line.breaks[path] = 48 * 1024

    assert client.refused().cause is Cause.UNREACHABLE
    client.line.asked.clear()
    client.sync()

    assert (path, f"bytes={48 * 1024}-") in client.line.asked
    assert not list(client.folder.glob("*.part"))


def test_a_server_without_ranges_begins_anew(client: Client) -> None:
    publish(client.hosted, 2, 60)
    path = newest_segment(client)
    client.line.breaks[path] = 48 * 1024
    client.line.ranges = False
    client.refused()

    assert client.sync().segments(REGION)


def test_a_download_that_was_broken_and_forged_is_dropped(client: Client) -> None:
    publish(client.hosted, 2, 60)
    path = newest_segment(client)
    content = client.hosted.files[path]
    client.hosted.files[path] = b"\0" * len(content)
    client.line.breaks[path] = 48 * 1024
    client.refused()
    client.hosted.files[path] = content

    assert client.refused().cause is Cause.ALTERED
    assert client.sync().segments(REGION)


def test_a_download_pauses_when_its_time_is_up_and_goes_on_later(client: Client, clock: Any) -> None:
    """Deletions are never behind a large download: it stops for them."""
    publish(client.hosted, 2, 60)
    client.line.before_piece = lambda path: clock.advance(1000)
    repository = client.repository()
    repository.refresh()
    (one,) = repository.segments(REGION)
    client.fetcher.until_ms = clock.monotonic_ms() + 2500
    with pytest.raises(Paused):
        repository.segment(one)
    client.fetcher.until_ms = None
    client.line.asked.clear()

    assert repository.segment(one).stat().st_size == one.length
    assert client.line.asked[0][1].startswith("bytes=")


def test_a_segment_that_was_fetched_is_not_fetched_again(client: Client) -> None:
    client.sync()
    client.line.asked.clear()

    repository = client.sync()
    assert not [path for path in client.line.paths() if path.endswith(".seg")]

    repository.keep(())
    assert not list((client.folder / "segments").iterdir())


# --- recovery ---


def test_a_stolen_timestamp_key_is_revoked_by_the_next_root(client: Client) -> None:
    """The thief's timestamp counts no more; nor does its version, however high it was set."""
    client.sync()
    hosted = client.hosted
    hosted.timestamp.version = 2_000_000
    hosted.publish_timestamp()
    client.sync()  # the thief was believed: fast-forward

    hosted.rotate("timestamp")
    hosted.timestamp.version = 10
    hosted.publish()

    assert client.sync().segments(REGION)


def test_stolen_snapshot_and_gallery_keys_are_revoked_too(client: Client) -> None:
    client.sync()
    hosted = client.hosted
    hosted.rotate("snapshot")
    hosted.rotate("timestamp")
    hosted.publish()
    client.sync()

    stolen = hosted.signers["gallery"]
    fresh = CryptoSigner.generate_ed25519()
    hosted.targets.revoke_key(stolen.public_key.keyid, "gallery")
    hosted.targets.add_key(fresh.public_key, "gallery")
    hosted.signers["gallery"] = fresh
    hosted.publish()
    client.sync()

    hosted.signers["gallery"] = stolen
    hosted.publish()
    assert client.refused().cause is Cause.WRONG_KEY


def test_root_keys_are_changed_through_a_chain_that_each_old_root_signed(client: Client) -> None:
    client.sync()
    hosted = client.hosted
    for _ in range(3):
        old, fresh = hosted.root_signers[0], CryptoSigner.generate_ed25519()
        hosted.root.revoke_key(old.public_key.keyid, "root")
        hosted.root.add_key(fresh.public_key, "root")
        hosted.root.version += 1
        hosted.publish_root([old, fresh, *hosted.root_signers[1:]])
        hosted.root_signers = [*hosted.root_signers[1:], fresh]
    hosted.publish()

    assert client.sync().segments(REGION)


def test_a_root_that_leaves_one_out_is_refused(client: Client) -> None:
    client.sync()
    client.hosted.root.version += 1
    client.hosted.publish_root()
    client.hosted.files["metadata/2.root.json"], skipped = b"", client.hosted.files["metadata/2.root.json"]
    client.hosted.root.version += 1
    client.hosted.publish_root()
    client.hosted.files["metadata/2.root.json"] = client.hosted.files["metadata/3.root.json"]

    assert client.refused().cause is Cause.ROLLBACK
    client.hosted.files["metadata/2.root.json"] = skipped
    assert client.sync().segments(REGION)


# --- what is signed and yet no gallery ---


@pytest.mark.parametrize(
    "wrong",
    [{"epoch": -1}, {"people": 10**9}, {"region": ""}, {"model_id": "x" * 200}, {"version": "1"}],
)
def test_a_segment_that_is_described_wrongly_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    client.hosted.segment(EPOCH, 1, 1, [], wrong)
    client.hosted.publish("gallery")

    assert client.refused().cause is Cause.MALFORMED


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b'{"version": -1, "tokens": []}', b'{"version": 1, "tokens": [{"token": ""}]}', b"\xff"],
)
def test_a_list_of_deletions_that_is_none_is_refused(client: Client, raw: bytes) -> None:
    client.hosted.add("tombstones", f"tombstones/{REGION}.json", raw)
    client.hosted.publish("tombstones")

    assert client.refused().cause is Cause.MALFORMED


def test_a_region_without_a_list_of_deletions_is_refused(client: Client) -> None:
    repository = client.sync()

    with pytest.raises(SyncRefused, match=r"tombstones/south\.json is not listed"):
        repository.tombstones("south")


# --- anything else ---


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_that_were_changed_anywhere_are_refused_or_mean_the_same(
    tmp_path_factory: pytest.TempPathFactory, clock: Any, data: st.DataObject
) -> None:
    """Whatever a hostile server makes of any file: never a crash, never another gallery."""
    hosted = published_once()
    path = data.draw(st.sampled_from(sorted(hosted)))
    content = bytearray(hosted[path])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"[" * 5000, b"9" * 5000, b"null", b'"', b"1e999"])
        )
        content[at : at + data.draw(st.integers(0, 8))] = piece
    served = Hosted()
    served.files, served.pinned = {**hosted, path: bytes(content)}, PINNED[0]
    client = Client(served, tmp_path_factory.mktemp("kiosk"), clock)
    try:
        (one,) = client.sync().segments(REGION)
    except SyncRefused:
        return
    assert (one.epoch_id, one.number, one.people) == (EPOCH.id, 0, 3)


PINNED: list[bytes] = []


@functools.cache
def published_once() -> dict[str, bytes]:
    hosted = Hosted()
    publish(hosted)
    PINNED.append(hosted.pinned)
    return dict(hosted.files)
