from __future__ import annotations

import os

import pytest

from kiosk.devices.camera_file import StillSource, VideoSource
from kiosk.devices.camera_pi import PiSource
from kiosk.devices.camera_v4l2 import V4l2Source
from kiosk.devices.cameras import open_source
from kiosk.domain.errors import OperatorError

from .pictures import write_image, write_video


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("pi", PiSource, "pi:0"),
        ("pi:1", PiSource, "pi:1"),
        ("0", V4l2Source, "/dev/video0"),
        ("12", V4l2Source, "/dev/video12"),
        ("/dev/video97", V4l2Source, "/dev/video97"),
    ],
)
def test_a_device_is_named_in_short_or_in_full(text, kind, name):
    source = open_source(text)
    assert isinstance(source, kind)
    assert source.info.name == name


def test_a_file_is_taken_for_what_it_holds_not_for_its_name(tmp_path):
    picture = write_image(tmp_path / "p.png").rename(tmp_path / "p.mp4")
    video = write_video(tmp_path / "v.avi").rename(tmp_path / "v.jpg")
    assert isinstance(open_source(str(picture)), StillSource)
    assert isinstance(open_source(str(video)), VideoSource)


@pytest.mark.parametrize(
    "text", ["", "none.jpg", "pi:x", "pi:", "rtsp://camera/1", "a\0b", "a\nb", "x" * 5000]
)
def test_what_names_nothing_gets_one_line(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OperatorError, match="no such camera or file") as caught:
        open_source(text)
    assert "Give a picture" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_text_file_is_neither_picture_nor_video(tmp_path):
    (tmp_path / "p.jpg").write_text("hello")
    with pytest.raises(OperatorError, match="neither a picture nor a video"):
        open_source(str(tmp_path / "p.jpg"))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "p.jpg").touch()
    with pytest.raises(OperatorError, match="neither a picture nor a video"):
        open_source(str(tmp_path / "p.jpg"))


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(OperatorError, match="no picture in this folder"):
        open_source(str(tmp_path))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.jpg")
    with pytest.raises(OperatorError, match="neither a file nor a folder"):
        open_source(str(tmp_path / "p.jpg"))
