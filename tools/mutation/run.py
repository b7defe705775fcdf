"""`make mutate`: change payment machine and limits in every small way, and see that a test notices.

mutmut makes the changes and runs tests/domain against each, in a copy of the tree (out/mutation). What lives
is printed as a difference; what explained.toml explains is no finding. Exit code 1 when one is left.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTATED = ("kiosk/domain/payment.py", "kiosk/domain/limits.py")
SETUP = {
    "source_paths": ("kiosk",),
    "only_mutate": MUTATED,
    "also_copy": ("assets", "docs", "tests", "tools", "README.md"),
    "pytest_add_cli_args_test_selection": ("tests/domain",),
    "pytest_add_cli_args": ("-p", "no:cacheprovider"),
}


def main() -> int:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out").resolve() / "mutation"
    copy_tree(out)
    log = out / "mutmut.log"
    print(f"mutating {' and '.join(MUTATED)}: about four minutes; {log} grows meanwhile", flush=True)
    with log.open("wb") as writes:
        done = subprocess.run(
            [sys.executable, "-m", "mutmut", "run"],
            cwd=out,
            stdout=writes,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        print(log.read_text(errors="replace")[-2_000:])
        return 2
    became = dict(re.findall(r"^\s*(\S+): (.+)$", mutmut(out, "results", "--all", "true"), re.MULTILINE))
    alive = [name for name, end in became.items() if end != "killed"]
    explained = tomllib.loads((ROOT / "tools/mutation/explained.toml").read_text())["mutant"]
    why = {one["change"].strip(): one["why"] for one in explained}
    left = 0
    for name in alive:
        change = difference(out, name)
        left += change not in why
        print(f"{name}: {became[name]}\n{change}\n  {why.get(change, 'NOT EXPLAINED')}\n")
    killed = len(became) - len(alive)
    print(f"{len(became)} mutants: {killed} killed, {len(alive) - left} explained, {left} left")
    return 1 if left else 0


def copy_tree(out: Path) -> None:
    """What git knows of, as it lies here now."""
    shutil.rmtree(out, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, out / name)
    lines = ["[mutmut]"]
    for key, values in SETUP.items():
        lines += [f"{key}=", *(f"    {value}" for value in values)]
    (out / "setup.cfg").write_text("\n".join(lines) + "\n")


def mutmut(out: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=out, capture_output=True, check=True
    )
    return done.stdout.decode()


def difference(out: Path, name: str) -> str:
    """The lines that the mutant changes, spaces made one."""
    lines = mutmut(out, "show", name).splitlines()
    changed = [line for line in lines if re.match(r"[-+](?![-+])", line)]
    return "\n".join(re.sub(r"\s+", " ", line).strip() for line in changed)


if __name__ == "__main__":
    sys.exit(main())
