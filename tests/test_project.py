"""The project around the code: lock, Makefile, walls, links and tree agree with each other."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, str]:
    """Distribution -> version of one file in requirements/."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {canonical(re.match(r"[A-Za-z0-9._-]+", one)[0]) for one in requirements}  # type: ignore[index]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_every_dependency_is_locked() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    assert names(project["dependencies"] + extras["sandbox"]) <= set(locked("runtime"))
    assert names(project["dependencies"] + extras["sandbox"] + extras["report"] + extras["dev"]) <= set(
        locked("dev")
    )
    assert names(PROJECT["dependency-groups"]["build"]) <= set(locked("build"))


def test_what_is_locked_is_what_the_project_asks_for() -> None:
    from packaging.requirements import Requirement

    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    for text in (*project["dependencies"], *extras["sandbox"], *extras["report"], *extras["dev"]):
        wanted = Requirement(text)
        version = locked("dev")[canonical(wanted.name)]
        assert wanted.specifier.contains(version), f"{text}, locked {version}: run `make lock`"


def test_the_locks_agree_on_every_version() -> None:
    everything = locked("dev")
    for name in ("runtime", "build"):
        for distribution, version in locked(name).items():
            assert everything.get(distribution, version) == version, f"{distribution} in {name}.txt"


@pytest.mark.parametrize("name", ["build", "runtime", "dev", "convert"])
def test_every_locked_file_has_a_hash(name: str) -> None:
    blocks = re.split(r"\n(?=[a-z])", (ROOT / "requirements" / f"{name}.txt").read_text())
    assert all("--hash=sha256:" in block for block in blocks if "==" in block.split("\n")[0])


def test_the_lock_is_what_is_installed() -> None:
    from importlib.metadata import distributions

    installed = {canonical(found.name): found.version for found in distributions()}
    differing = {
        distribution: (version, installed[distribution])
        for distribution, version in locked("runtime").items()
        if distribution in installed and installed[distribution] != version
    }
    assert not differing, "run `make setup`"


def test_make_alone_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    declared = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert declared is not None
    listed = run("make", "--no-print-directory").stdout
    for target in declared[1].split():
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), target


def test_set_up_refuses_an_old_python_in_one_line() -> None:
    code = (
        "import sys, runpy; sys.version_info = (3, 9, 2, 'final', 0); sys.argv = ['setup.py', '--force'];"
        "runpy.run_path('tools/setup.py', run_name='__main__')"
    )
    answer = run(sys.executable, "-c", code)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "3.11" in answer.stderr


@pytest.mark.parametrize("tool", ["check_links.py", "check_tree.py", "draw_machine.py"])
def test_the_projects_own_checks_pass(tool: str) -> None:
    answer = run(
        sys.executable, f"tools/{tool}", *(["--check"] if tool == "draw_machine.py" else []), PYTHONPATH="."
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_domain_imports_the_standard_library_only() -> None:
    for path in (ROOT / "kiosk" / "domain").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: relative import"
                modules = [node.module or ""]
            for module in modules:
                allowed = module.split(".")[0] in sys.stdlib_module_names or module.startswith("kiosk.domain")
                assert allowed, f"{path.name} imports {module}"


def test_kiosk_help_names_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kiosk.cli.main import app; from typer.testing import CliRunner;"
        "print(CliRunner().invoke(app, ['--help']).output);"
        "print('HEAVY', sorted({'cv2', 'PySide6', 'ai_edge_litert', 'hnswlib'} & set(sys.modules)))"
    )
    answer = run(sys.executable, "-c", code)
    for command in (
        "run",
        "pay",
        "look",
        "enrol",
        "forget",
        "doctor",
        "demo",
        "bench",
        "eval",
        "sandbox",
        "screenshot",
    ):
        assert re.search(rf"\b{command}\b", answer.stdout), answer.stdout + answer.stderr
    assert "HEAVY []" in answer.stdout


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "check_links.py").write_text((ROOT / "tools" / "check_links.py").read_text())
    (tmp_path / "other.md").write_text("# A heading, here\n")
    (tmp_path / "page.md").write_text(
        "[well](other.md#a-heading-here) [no file](no.md)\n[no anchor](other.md#no)\n```\n[code](x.md)\n```\n"
        "[out](../x.md) `[quoted](y.md)` [elsewhere](https://example.org/x.md)\n"
    )
    answer = run(sys.executable, str(tmp_path / "tools" / "check_links.py"))
    assert answer.returncode == 1
    assert [line.split(": ")[0] for line in answer.stdout.splitlines()] == [
        "page.md:1",
        "page.md:2",
        "page.md:6",
    ]


def test_what_must_not_be_in_the_tree_is_found(tmp_path: Path) -> None:
    root, data = tmp_path / "tree", tmp_path / "data"
    (root / "tools").mkdir(parents=True)
    data.mkdir()
    (root / "tools" / "check_tree.py").write_text((ROOT / "tools" / "check_tree.py").read_text())
    (root / "device.key").write_text("x")
    (root / "note.txt").write_text("-----BEGIN EC PRIVATE" + " KEY-----")
    (root / "face.png").write_bytes(b"not a real picture")
    (root / "large.bin").write_bytes(bytes(5 * 1024 * 1024 + 1))
    (root / "copied.bin").write_bytes(b"evaluation")
    (data / "picture.jpg").write_bytes(b"evaluation")
    (root / "fine.txt").write_text("fine")
    answer = run(sys.executable, str(root / "tools" / "check_tree.py"), KIOSK_EVAL_DATA=str(data))
    assert answer.returncode == 1
    found = {line.split(": ")[0] for line in answer.stdout.splitlines()}
    assert found == {"device.key", "note.txt", "face.png", "large.bin", "copied.bin"}
