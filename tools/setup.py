#!/usr/bin/env python3
"""Sets up what the kiosk needs in `.venv`, from the lock; a run that finds nothing to do is instant.

Needs Python >= 3.11 and nothing else: system packages that are missing are installed when run as root, or
named with the one command that installs them. Every library comes by hash from `requirements/`.
Exit code 0, or 2 with one line that says what to do.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APT_LIST = ROOT / "deploy" / "apt-packages.txt"
LOCKS = {name: ROOT / "requirements" / f"{name}.txt" for name in ("build", "runtime", "dev")}
FOR_TESTS = "# --- for tests"
STEPS = 5
OLDEST = (3, 11)

NETWORK_WORDS = (
    "NewConnectionError", "NameResolutionError", "Temporary failure in name resolution", "Could not resolve",
    "ConnectTimeoutError", "Failed to establish a new connection", "Network is unreachable", "ProxyError",
    "Failed to fetch", "Read timed out", "ReadTimeoutError", "Connection refused", "ConnectionResetError",
)  # fmt: skip


class StopError(Exception):
    """Set-up can't go on; the message is one line that says why and what to do."""


def main() -> int:
    arguments = parse_arguments()
    try:
        set_up(Path(arguments.venv).resolve(), arguments.lock, force=arguments.force)
    except StopError as stop:
        print(f"set-up: {stop}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"set-up: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("set-up: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="where to install (default .venv)")
    parser.add_argument(
        "--lock", choices=("dev", "runtime"), default="dev", help="runtime: without the developers' tools"
    )
    parser.add_argument("--force", action="store_true", help="even when nothing has changed")
    return parser.parse_args()


def set_up(venv: Path, lock: str, *, force: bool) -> None:
    if sys.version_info < OLDEST:
        raise StopError(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} is too old, 3.11 or newer is needed; "
            "install one and name it: make setup PYTHON=python3.13"
        )
    stamp, wanted = venv / ".set-up", fingerprint(lock)
    ready = stamp.is_file() and stamp.read_text() == wanted and (venv / "bin" / "kiosk").is_file()
    if ready and not force:
        return
    print(
        f"Setting up in {venv} with Python {sys.version.split()[0]} (once; later runs skip this)", flush=True
    )
    log = venv.parent / f"{venv.name}-set-up.log"
    log.write_text("")
    say(1, "system packages")
    bring_system_packages(log, lock)
    say(2, f"virtual environment {venv.name}")
    make_environment(venv, log)
    say(3, "build tools, by hash")
    pip(venv, log, "--only-binary", ":all:", "--require-hashes", "-r", str(LOCKS["build"]))
    say(4, "libraries, by hash (hnswlib is compiled the first time: about a minute)")
    sources = ("--only-binary", ":all:", "--no-binary", "hnswlib", "--no-build-isolation")
    pip(venv, log, *sources, "--require-hashes", "-r", str(LOCKS[lock]))
    say(5, "the kiosk itself")
    pip(venv, log, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    stamp.write_text(wanted)
    log.unlink()
    print(f"Ready: {venv / 'bin' / 'kiosk'}", flush=True)


def say(step: int, what: str) -> None:
    print(f"[{step}/{STEPS}] {what}", flush=True)


def fingerprint(lock: str) -> str:
    """Changes when anything that set-up reads does: locks, project, package list, this file, the Python."""
    digest = hashlib.sha256(f"{sys.version}|{sys.base_prefix}|{lock}".encode())
    for path in (LOCKS["build"], LOCKS[lock], ROOT / "pyproject.toml", APT_LIST, Path(__file__)):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


# --- system packages ------------------------------------------------------------------------------------


def bring_system_packages(log: Path, lock: str = "dev") -> None:
    """Install what is missing as root; otherwise name the one command."""
    missing = missing_packages(lock)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise StopError(
            "missing here, under Debian's names: " + " ".join(missing) + "; install them and run again"
        )
    if os.geteuid() != 0:
        raise StopError("missing system packages; run: sudo apt-get install -y " + " ".join(missing))
    print("      installing " + " ".join(missing), flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    run(["apt-get", "update"], log, environment)
    run(install, log, environment)


def missing_packages(lock: str = "dev") -> list[str]:
    """Debian's names; what stands below the list's line for tests is left out for a kiosk in a shop."""
    missing = []
    if not can_make_environments():
        missing.append("python3-venv")
    if shutil.which("g++") is None:
        missing.append("g++")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        missing.append("python3-dev")
    present = installed_packages()
    if present is not None and APT_LIST.is_file():
        listed = APT_LIST.read_text()
        if lock == "runtime":
            listed = listed.split(FOR_TESTS)[0]
        lines = (line.split("#")[0].strip() for line in listed.splitlines())
        missing += [name for name in lines if name and name not in present]
    return missing


def can_make_environments() -> bool:
    try:
        import ensurepip
        import venv
    except ImportError:
        return False
    return bool(ensurepip.version()) and bool(venv.__name__)


def installed_packages() -> set[str] | None:
    """Names that dpkg knows as installed, provided names too (`libglib2.0-0` is `...t64` in Debian 13)."""
    if shutil.which("dpkg-query") is None:
        return None
    form = "${db:Status-Status}|${Package}|${Provides}\n"
    answer = subprocess.run(["dpkg-query", "-W", f"-f={form}"], capture_output=True, text=True, check=False)
    names: set[str] = set()
    for line in answer.stdout.splitlines():
        status, package, provides = line.split("|", 2)
        if status == "installed":
            names |= {package, *(part.split("(")[0].strip() for part in provides.split(","))}
    return names


# --- Python ---------------------------------------------------------------------------------------------


def make_environment(venv: Path, log: Path) -> None:
    """Reuse what is there when it is of this very Python; otherwise start over."""
    python = venv / "bin" / "python"
    same = (
        python.exists()
        and subprocess.run(
            [python, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
        ).stdout.strip()
        == sys.version
    )
    if same:
        return
    if venv.exists():
        shutil.rmtree(venv)
    run([sys.executable, "-m", "venv", str(venv)], log)


def pip(venv: Path, log: Path, *arguments: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    python = str(venv / "bin" / "python")
    run([python, "-m", "pip", "install", "--retries", "2", *arguments], log, environment)


def run(command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
    """Run it with its output in the log; when it fails, say why in one line."""
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        try:
            code = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, check=False
            ).returncode
        except OSError as error:
            raise StopError(f"cannot start {command[0]}: {error.strerror}") from None
    if code != 0:
        raise StopError(f"{reason(log.read_text(errors='replace'))} (all of it: {log})")


def reason(output: str) -> str:
    last = output.rsplit("\n$ ", 1)[-1]
    if "No space left on device" in last:
        return "the disk is full; about 2 GB are needed"
    if any(word in last for word in NETWORK_WORDS):
        return (
            "no connection to the package registry; connect this machine (or set PIP_INDEX_URL) and run again"
        )
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in last:
        return "a downloaded file is not the one that was locked; nothing of it was installed"
    if "Failed building wheel for hnswlib" in last:
        return "hnswlib did not compile; check that g++ and Python's headers (python3-dev) fit this Python"
    lines = [line.strip() for line in last.splitlines()[1:] if line.strip()]  # the first is the command
    errors = [line for line in lines if line.lower().startswith(("error", "e:"))]
    return (errors or lines or ["failed without a word"])[-1]


if __name__ == "__main__":
    sys.exit(main())
