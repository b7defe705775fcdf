"""Says whether the tree holds only what may be in it: no secrets, no stray pictures, nothing huge.

Looks at what git tracks or would track (without git: at every file). With `KIOSK_EVAL_DATA` set it also
refuses any file whose bytes are one of the evaluation data's: those are for measuring, never for shipping.
Exit code 0, or 1 with one line a file: `docs/face.png: pictures belong in ...`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 5 * 1024 * 1024
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".mp4", ".avi", ".mov"}
PICTURE_ROOMS = ("assets/", "docs/", "tests/golden/")
SECRET_NAMES = {".env", ".pem", ".key", ".p12", ".pfx", ".jks", ".netrc", ".pypirc", ".sqlite", ".db"}
# Written in two parts, so that this file doesn't find itself.
SECRET_TEXT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE" + rb" KEY-----|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}"
)
LEFT_OUT = {".git", "__pycache__", "build", "dist", "out", "var", "node_modules"}


def main() -> int:
    files = sorted(listed())
    foreign = evaluation_files()
    wrong = [f"{name}: {why}" for name in files for why in complaints(name, foreign)]
    print("\n".join(wrong) if wrong else f"tree: {len(files)} files, nothing that should not be here")
    return 1 if wrong else 0


def listed() -> list[str]:
    """Relative names of the files that are, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    tracked = (ROOT / ".git").exists() and shutil.which("git") is not None
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=False) if tracked else None
    if answer is not None and answer.returncode == 0:
        names = [os.fsdecode(name) for name in answer.stdout.split(b"\0") if name]
        return [name for name in dict.fromkeys(names) if (ROOT / name).is_file()]
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [path.as_posix() for path in paths if is_ours(path)]


def is_ours(path: Path) -> bool:
    return not any(part in LEFT_OUT or part.startswith(".") for part in path.parts[:-1])


def complaints(name: str, foreign: frozenset[tuple[int, str]]) -> Iterator[str]:
    path = ROOT / name
    suffix = path.suffix.lower() or path.name
    size = path.stat().st_size
    if suffix in SECRET_NAMES or path.name.startswith("id_"):
        yield "looks like a key or a database: it stays out of git"
    if suffix in PICTURES and not name.startswith(PICTURE_ROOMS):
        yield f"pictures belong in {', '.join(PICTURE_ROOMS)}"
    if size > MAX_BYTES:
        yield f"{size / 1e6:.1f} MB; nothing here is larger than 5 MB"
        return
    content = path.read_bytes()
    if SECRET_TEXT.search(content):
        yield "holds what looks like a private key or an access token"
    if (size, hashlib.sha256(content).hexdigest()) in foreign:
        yield "is a file of the evaluation data"


def evaluation_files() -> frozenset[tuple[int, str]]:
    """Size and hash of every evaluation file whose size one of ours has (so that few are read)."""
    folder = os.environ.get("KIOSK_EVAL_DATA")
    if not folder or not Path(folder).is_dir():
        return frozenset()
    sizes = {(ROOT / name).stat().st_size for name in listed()}
    same = [path for path in Path(folder).rglob("*") if path.is_file() and path.stat().st_size in sizes]
    return frozenset((path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for path in same)


if __name__ == "__main__":
    sys.exit(main())
