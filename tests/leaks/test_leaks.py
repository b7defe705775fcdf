"""After real use no template and no frame is in the clear: not on disk, in a journal, a log, or a crash."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.app.enrol import Enrolment, capture
from kiosk.app.kernel import LookDone
from kiosk.app.look import look_at
from kiosk.app.wiring import Base, open_base
from kiosk.frames import Frame
from kiosk.gallery.template import Template
from kiosk.vision.embed import Embedding
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.look import LookResult
from kiosk.vision.observation import Observation

from ..cli.conftest import DEMO, PAYER
from ..sandbox.conftest import Running, running
from .needles import IMAGE_FILES, Needles, frame_needles, template_needles

OTHER = "pyr-b84xw1dz"
PROBE, NOBODY = DEMO / "probe" / f"{PAYER}.jpg", DEMO / "probe" / "stranger.jpg"
AGREED = ("--agreed", "v1", "--of-age")
KIOSK = "from kiosk.cli.main import main; main()"


@dataclass(frozen=True)
class Used:
    """A kiosk after a day's work: its folder (the sandbox's in it), what it printed, and the search."""

    sandbox: Running
    temporary: Path
    printed: dict[str, str]
    needles: Needles

    @property
    def folder(self) -> Path:
        return self.sandbox.folder

    def ran(self, code: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return ran(self.temporary, code, *arguments, "--data-dir", self.folder)


def ran(temporary: Path, code: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own, whose temporary files land in `temporary`, where it also stands."""
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "PYTHONFAULTHANDLER": "1",
        "XDG_CACHE_HOME": str(temporary),
    }
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        cwd=temporary,
        env=environment,
        timeout=120,
        check=False,
    )


def needles_of(base: Base) -> Needles:
    """References and probes, as the network gave them and as the gallery turned them, and the frames."""
    vision, rules, gallery = base.vision(), base.look_rules(), base.gallery
    raw = {}
    for token in (PAYER, OTHER):
        with base.cameras.opened(str(DEMO / "enrol" / token)) as source:
            raw[f"reference {token}"] = capture(source, vision, rules).reference
    for path in (PROBE, NOBODY):
        with base.cameras.opened(str(path)) as source:
            look = look_at(source, vision, rules)
        raw[f"probe {path.stem}"] = look.template if look else None
    needles = []
    for name, vector in raw.items():
        assert vector is not None, name
        needles += template_needles(vector, name)
        needles += template_needles(gallery.epoch.turn(vector), f"turned {name}") if gallery.epoch else []
    for record in gallery.records():
        for reference in record.references:
            needles += template_needles(reference.template.vector, f"held {record.token}")
    for path in (*sorted((DEMO / "enrol").rglob("*.jpg")), PROBE, NOBODY):
        picture = cv2.imread(str(path))
        assert picture is not None
        needles += frame_needles(np.asarray(picture, np.uint8), path.read_bytes(), path.name)
    return Needles(needles)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    temporary = tmp_path_factory.mktemp("temporary")
    with running(tmp_path_factory.mktemp("leaks")) as sandbox:
        folder, out = sandbox.folder, temporary / "out"
        out.mkdir()
        day: tuple[tuple[int, tuple[str | Path, ...]], ...] = (
            (0, ("enrol", "--camera", DEMO / "enrol" / PAYER, "--payer", PAYER, "--digits", "4821")),
            (1, ("doctor", "--camera", PROBE, "--report")),
            (0, ("enrol", "--camera", DEMO / "enrol" / OTHER, "--account", "w-1", *AGREED)),
            (0, ("pay", "--camera", PROBE, "--amount", "38.50", "--json")),
            (11, ("pay", "--camera", NOBODY, "--amount", "1.00", "--json")),
            (0, ("gallery", "sync")),
            (0, ("privacy", "export", "--payer", PAYER, "--out", out / "export.json")),
            (0, ("privacy", "report", "--out", out / "report")),
            (0, ("audit", "export", "--out", out / "trail.jsonl")),
        )  # fmt: skip
        printed = {}
        for code, arguments in day:
            done = ran(temporary, KIOSK, *arguments, "--data-dir", folder)
            name = " ".join(map(str, arguments[:2]))
            printed[name] = (done.stdout + done.stderr).decode()
            assert done.returncode in (code, 0), f"{name}: {printed[name]}"
        with open_base(folder, None) as base:
            needles = needles_of(base)
        yield Used(sandbox, temporary, printed, needles)


def test_nothing_is_on_the_disk_in_the_clear(used: Used) -> None:
    assert len(used.needles) > 10_000
    for folder in (used.folder, used.temporary):
        assert used.needles.found_in_files(folder) == {}


def test_no_picture_is_on_the_disk(used: Used) -> None:
    for folder in (used.folder, used.temporary):
        for path in filter(Path.is_file, folder.rglob("*")):
            content = path.read_bytes()
            assert not any(mark in content for mark in IMAGE_FILES), path


def test_nothing_is_printed_in_the_clear(used: Used) -> None:
    for name, text in used.printed.items():
        assert used.needles.found_in(text.encode()) == set(), name
        assert "array(" not in text, name


@pytest.mark.parametrize(
    "holder", [Enrolment, LookDone, LookResult, Frame, Landmarks, Embedding, Observation, Template]
)
def test_what_holds_a_face_does_not_show_it_when_it_is_printed(holder: type) -> None:
    arrays = [field for field in dataclasses.fields(holder) if "NDArray" in str(field.type)]
    assert arrays
    assert not any(field.repr for field in arrays)


BUG = """
    import sys
    from kiosk.gallery.gallery import Gallery
    def search(self, probe, k, among=None):
        vector = probe.vector.copy()
        {fault}
    Gallery.search = search
    from kiosk.cli.main import main
    main()
"""


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("raise RuntimeError(f'a bug near {probe} and {self}')", "RuntimeError"),
        ("import ctypes; ctypes.string_at(0)", "Segmentation fault"),
        ("import os; os.abort()", "Aborted"),
    ],
)
def test_a_crash_in_the_middle_of_a_search_tells_lines_of_code_and_no_template(
    used: Used, fault: str, told: str
) -> None:
    before = set(used.temporary.rglob("*"))
    done = used.ran(BUG.format(fault=fault), "pay", "--camera", PROBE, "--amount", "2.00")
    assert done.returncode not in (0, 11)
    text = done.stdout + done.stderr
    assert told in text.decode()
    assert "in search" in text.decode()
    assert used.needles.found_in(text) == set()
    assert set(used.temporary.rglob("*")) == before, "a core, or a report of a crash"
    assert used.needles.found_in_files(used.folder) == {}


HOLDS = """
    import gc, sys
    from kiosk.app.look import look_at
    from kiosk.app.people import EnrolledPeople
    from kiosk.app.wiring import open_base
    from pathlib import Path
    camera, folder = sys.argv[1], Path(sys.argv[3])
    with open_base(folder, None) as base:
        vision, rules, people = base.vision(), base.look_rules(), EnrolledPeople(base.gallery)
        with base.cameras.opened(camera) as source:
            look = look_at(source, vision, rules)
        print("holds", flush=True)
        sys.stdin.readline()
        assert people.search(look.template, None)[0].score > 0.5
        look.template.fill(0.0)
        vision.forget()
        print("after", flush=True)
        sys.stdin.readline()
"""


def memory_of(pid: int) -> Iterator[bytes]:
    """What a process has written to memory of its own: heap, stacks, anonymous maps."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw\S* \S+ \S+ \S+\s*(/|\[v)?", line)
            if found is None or found[3]:
                continue
            first, last = int(found[1], 16), int(found[2], 16)
            memory.seek(first)
            yield memory.read(last - first)


def test_a_probe_is_in_no_memory_of_the_process_after_its_search(used: Used) -> None:
    """The buffers that are ours and those of the interpreter; as root, who may look into a process."""
    with open_base(used.folder, None) as base, base.cameras.opened(str(PROBE)) as source:
        look = look_at(source, base.vision(), base.look_rules())
        assert look is not None
        assert look.template is not None
        assert base.gallery.epoch is not None
        turned = base.gallery.epoch.turn(look.template)
        needles = Needles(template_needles(look.template, "probe") + template_needles(turned, "turned"))
    command = [sys.executable, "-c", textwrap.dedent(HOLDS), str(PROBE), "--data-dir", str(used.folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    found = {}
    try:
        for expected in ("holds", "after"):
            assert process.stdout.readline().strip() == expected
            try:
                parts = (needles.found_in(part, step=4) for part in memory_of(process.pid))
                found[expected] = set().union(*parts)  # arrays begin at whole words
            except PermissionError:
                pytest.skip("this system lets nobody look into a process's memory")
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    assert "probe <f4" in found["holds"], "the search works on memory too"
    assert found["after"] == set()
