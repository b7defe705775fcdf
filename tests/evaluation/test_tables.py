from __future__ import annotations

import numpy as np
import pytest

from kiosk.domain.errors import OperatorError
from kiosk.evaluation.tables import read_picture, read_table


def table(folder, text: str):
    path = folder / "table.csv"
    path.write_text(text, "utf-8")
    return path


def test_rows_and_pictures_are_relative_to_the_table(tmp_path):
    read = read_table(table(tmp_path, "path,identity,more\na/b.jpg,anna,1\n"), ("path", "identity"))
    assert read.rows == ({"path": "a/b.jpg", "identity": "anna", "more": "1"},)
    assert read.picture("a/b.jpg") == tmp_path / "a" / "b.jpg"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,role\na.jpg,enrol\n", r"table\.csv: has no column identity"),
        ("path,identity,role\na.jpg,,enrol\n", r"table\.csv:2: column identity is empty"),
        ("path,identity,role\na.jpg,anna\n", r"table\.csv:2: column role is empty"),
        ("path,identity,role\na.jpg,anna,guest\n", r"table\.csv:2: role is 'guest'.*enrol, probe"),
        ("path,identity,role\n", "has no rows"),
        ("", "has no column"),
    ],
)
def test_a_table_that_is_not_one_is_refused_in_one_line(tmp_path, text, complaint):
    with pytest.raises(OperatorError, match=complaint) as refusal:
        read_table(table(tmp_path, text), ("path", "identity", "role"), {"role": ("enrol", "probe")})
    assert "\n" not in str(refusal.value)


def test_a_table_that_is_missing_or_binary_is_refused(tmp_path):
    with pytest.raises(OperatorError, match="cannot be read"):
        read_table(tmp_path / "none.csv", ("path",))
    (tmp_path / "binary.csv").write_bytes(b"path\n\xff\xfe\x00\n")
    with pytest.raises(OperatorError, match="not a CSV file"):
        read_table(tmp_path / "binary.csv", ("path",))


def test_a_picture_that_is_missing_or_damaged_is_refused_by_name(tmp_path):
    with pytest.raises(OperatorError, match=r"none\.jpg"):
        read_picture(tmp_path / "none.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(OperatorError, match=r"bad\.jpg"):
        read_picture(tmp_path / "bad.jpg")


def test_a_picture_is_read_in_red_green_blue(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "red.png"), np.full((8, 6, 3), (0, 0, 255), np.uint8))
    frame = read_picture(tmp_path / "red.png")
    assert (frame.width, frame.height) == (6, 8)
    assert frame.rgb()[0, 0].tolist() == [255, 0, 0]
