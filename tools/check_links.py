"""Says whether every relative link in every Markdown file leads somewhere: the file, and the heading in it.

Links to other sites are not followed. Anchors are compared the way GitHub makes them from headings.
Exit code 0, or 1 with one line a broken link: `README.md:12: docs/no.md is not there`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {".git", "node_modules", "build", "dist", "out", "var"}

INLINE = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
CODE = re.compile(r"`[^`]*`")
FENCE = re.compile(r"^\s*(```|~~~)")
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def main() -> int:
    files = sorted(path for path in ROOT.rglob("*.md") if is_ours(path.relative_to(ROOT)))
    broken = [f"{path.relative_to(ROOT)}:{line}: {why}" for path in files for line, why in check(path)]
    print(
        "\n".join(broken) if broken else f"links: {len(files)} Markdown files, every relative link resolves"
    )
    return 1 if broken else 0


def is_ours(path: Path) -> bool:
    return not any(part in LEFT_OUT or part.startswith(".venv") for part in path.parts)


def check(path: Path) -> Iterator[tuple[int, str]]:
    """Broken links of one file: line number, and what is wrong."""
    for number, line in prose(path):
        bare = CODE.sub("", line)
        reference = REFERENCE.match(bare)
        for target in [*INLINE.findall(bare), *([reference[1]] if reference else [])]:
            if not ELSEWHERE.match(target) and (why := what_is_wrong(path, target)):
                yield number, why


def what_is_wrong(path: Path, target: str) -> str:
    name, _, anchor = unquote(target).partition("#")
    if name.startswith("/"):
        return f"{target} starts at the root of the disk: write it relative to this file"
    aim = (path.parent / name).resolve() if name else path
    if not aim.is_relative_to(ROOT):
        return f"{target} leads out of the project"
    if not aim.exists():
        return f"{target} is not there"
    if anchor and aim.suffix == ".md" and anchor not in anchors(aim):
        return f"{target}: no heading makes that anchor"
    return ""


def anchors(path: Path) -> set[str]:
    """GitHub's anchors of a file's headings; a repeated one gets -1, -2, ..."""
    seen: dict[str, int] = {}
    found = set()
    for _, line in prose(path):
        heading = HEADING.match(line)
        if heading:
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
            seen[slug] = seen.get(slug, 0) + 1
    return found


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines outside fenced code."""
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


if __name__ == "__main__":
    sys.exit(main())
