"""docs/privacy.md says what the program says: the same data map, and every kind of line in the trail."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from kiosk.app.audit import What
from kiosk.app.privacy_map import as_markdown
from kiosk.domain.staff import Action

DOC = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()


def test_the_data_map_is_the_program_s_own() -> None:
    assert as_markdown() in DOC


def test_every_kind_of_line_is_explained() -> None:
    for what in (*get_args(What), *Action):
        assert f"`{what}`" in DOC
