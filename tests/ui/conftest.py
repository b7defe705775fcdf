"""One application with the shipped fonts for all tests of the screens."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QGuiApplication

from kiosk.ui.window import application


@pytest.fixture(scope="session")
def qapp() -> QGuiApplication:
    return application()
