"""The self-test of the gallery: every file opened, nothing put back, and how many people are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from kiosk.acquirer.journal import Journal
from kiosk.files import is_there
from kiosk.gallery.change import Source, Status

if TYPE_CHECKING:
    from kiosk.app.wiring import Base

__all__ = ["gallery_found"]

Found = tuple[Literal["green", "amber", "red"], str, str]


def gallery_found(base: Base) -> Found:
    """Status, what was found, what to do. OperatorError: it can't be believed, or is an older one."""
    store = base.enrolled.store
    status = store.status()
    damaged = store.verify()
    if status is None or not status.people:
        return "amber", "nobody is enrolled", "Run `kiosk enrol`."
    left = store.status()  # without what has no good file
    lost = _own(status) - _own(left) if left else 0
    if damaged and lost:
        return "red", f"{damaged[0]}; people who enrolled here and can't be read: {lost}", _LOST
    path = base.data_dir / "journal.sqlite"
    if is_there(path):
        with Journal(path, read_only=True) as journal:
            base.enrolled.check_follows(journal)
    detail = _told(status)
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        return "amber", f"{damaged[0]}{more}; {detail}", _MEND
    warn_at = base.config.gallery.warn_at_references
    if status.references >= warn_at:
        return "amber", f"{detail}; from {warn_at} on some places want it filed", _FILE_IT
    return "green", detail, ""


_FILE_IT: Final = "See docs/privacy.md; gallery.warn_at_references sets where this begins."
_MEND: Final = "The next start mends what has a good copy; `kiosk gallery sync` fetches the acquirer's again."
_LOST: Final = "Put this kiosk's key back, or gallery/ from a backup; until then nobody pays by face."


def _own(status: Status) -> int:
    return sum(segment.people for segment in status.of(Source.OWN))


def _told(status: Status) -> str:
    own = _own(status)
    sources = f" ({own} here)" if own != status.people else ""
    epoch = f"{status.epoch.region} epoch {status.epoch.number}"
    return f"{status.people} enrolled{sources}, version {status.version}, {epoch}"
