from __future__ import annotations

import contextlib
import os
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.devices.camera_file import StillSource, VideoSource, read_image
from kiosk.devices.cameras import open_source
from kiosk.devices.image_header import image_size
from kiosk.domain.errors import OperatorError

from .pictures import scene, turned, write_image, write_video

SUFFIXES = [".jpg", ".png", ".webp", ".bmp"]


def one_line(caught) -> str:
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_kind_of_picture_is_read_as_rgb(tmp_path, suffix):
    rgb = read_image(write_image(tmp_path / f"p{suffix}"))
    assert rgb.shape == (48, 64, 3)
    assert np.allclose(rgb[5, 5], (220, 20, 20), atol=20)
    assert np.allclose(rgb[40, 60], 90, atol=6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_header_tells_the_size(tmp_path, suffix):
    assert image_size(write_image(tmp_path / f"p{suffix}", scene(130, 70)).read_bytes()) == (130, 70)


def test_lossless_and_extended_webp_tell_their_size():
    assert image_size(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", (129) | (69 << 14))) == (
        130,
        70,
    )
    extended = (
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (129).to_bytes(3, "little") + (69).to_bytes(3, "little")
    )
    assert image_size(extended) == (130, 70)


def test_a_picture_that_lies_on_its_side_is_turned_upright(tmp_path):
    jpeg = write_image(tmp_path / "p.jpg").read_bytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(turned(jpeg, 6))  # 6: the first row is the right side
    rgb = read_image(path)
    assert rgb.shape == (64, 48, 3)
    assert np.allclose(rgb[5, 44], (220, 20, 20), atol=20)


def test_a_small_file_that_claims_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    )
    with pytest.raises(OperatorError, match="60000 x 60000 px") as caught:
        read_image(path)
    one_line(caught)


def test_a_picture_within_the_sides_but_over_the_megapixels_is_refused(tmp_path):
    path = tmp_path / "big.bmp"
    path.write_bytes(b"BM" + bytes(16) + struct.pack("<ii", 8000, -8000) + bytes(30))
    with pytest.raises(OperatorError, match="8000 x 8000 px"):
        read_image(path)


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "p.jpg"
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(OperatorError, match="too large"):
        read_image(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_that_is_cut_off_is_refused_in_one_line_and_nothing_else_is_printed(
    tmp_path, suffix, capfd
):
    path = write_image(tmp_path / f"p{suffix}", scene(200, 150))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OperatorError, match=r"p\.\w+: the picture is damaged"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from(SUFFIXES))
def test_any_damage_gives_a_picture_or_one_line(tmp_path, data, suffix):
    path = write_image(tmp_path / f"p{suffix}")
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        said = str(read_image(path).ndim)
    except OperatorError as error:
        said = str(error)
    assert "\n" not in said


@given(
    st.binary(max_size=64),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP", b"BM"]),
)
def test_any_bytes_have_a_size_or_a_value_error(tail, start):
    with contextlib.suppress(ValueError):
        assert len(image_size(start + tail)) == 2


def test_no_file_is_said_so(tmp_path):
    with pytest.raises(OperatorError, match="No such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(OperatorError, match="there is no picture"):
        StillSource((tmp_path / "none.jpg",), "none.jpg").open()


def test_a_folder_is_read_in_the_order_of_names_and_skips_what_is_no_picture(tmp_path):
    for level, name in ((30, "b.png"), (60, "a.JPG".lower()), (90, "c.bmp")):
        write_image(tmp_path / name, np.full((20, 20, 3), level, np.uint8))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    source = open_source(str(tmp_path))
    source.open()
    assert [int(source.read(0).rgb().mean()) for _ in range(3)] == [60, 30, 90]
    assert source.ended


def test_a_damaged_picture_does_not_hide_the_next(tmp_path):
    write_image(tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    write_image(tmp_path / "b.png")
    source = open_source(str(tmp_path))
    source.open()
    with pytest.raises(OperatorError, match=r"a\.png"):
        source.read(0)
    assert source.read(0).sequence == 1


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_gives_every_frame_with_its_own_clock(tmp_path, suffix):
    source = VideoSource(write_video(tmp_path / f"v{suffix}", frames=10, per_s=25))
    source.open()
    frames = [source.read(0) for _ in range(10)]
    assert source.read(0) is None
    assert source.ended
    gaps = {later.timestamp_ns - earlier.timestamp_ns for earlier, later in pairwise(frames)}
    assert gaps == {40_000_000}
    means = [frame.rgb().mean() for frame in frames]
    assert means == sorted(means)


def test_a_video_that_is_cut_off_is_refused_quietly(tmp_path, capfd):
    path = write_video(tmp_path / "v.mp4")
    capfd.readouterr()
    path.write_bytes(path.read_bytes()[:-400])
    source = VideoSource(path)
    with pytest.raises(OperatorError, match="damaged"):
        source.open()
    assert source.ended


def test_a_video_whose_frames_are_gone_is_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4")
    raw = bytearray(path.read_bytes())
    start, end = raw.index(b"mdat") + 4, raw.index(b"moov") - 4
    raw[start:end] = bytes(end - start)
    path.write_bytes(raw)
    with pytest.raises(OperatorError, match="damaged"):
        VideoSource(path).open()


def test_a_video_that_opens_and_holds_no_frame_is_refused(tmp_path, capfd):
    path = write_video(tmp_path / "v.avi")
    capfd.readouterr()
    raw = path.read_bytes()
    start, end = raw.index(b"movi") + 4, raw.index(b"idx1")
    path.write_bytes(raw[:start] + bytes(end - start) + raw[end:])
    source = VideoSource(path)
    source.open()
    with pytest.raises(OperatorError, match="holds no frame"):
        source.read(0)
    assert source.ended
    assert capfd.readouterr() == ("", "")


def test_a_play_list_is_not_taken_for_a_video(tmp_path):
    """FFmpeg would open the files and servers that it names."""
    path = tmp_path / "v.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    with pytest.raises(OperatorError, match="not a video"):
        VideoSource(path).open()


def test_reading_pictures_leaves_stderr_as_it_was(tmp_path, capfd):
    read_image(write_image(tmp_path / "p.png"))
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_what_stands_behind_a_still_is_named_without_its_folder(tmp_path: Path):
    source = open_source(str(write_image(tmp_path / "p.png")))
    assert source.info.camera_id == "still:p.png"
