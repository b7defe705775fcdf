"""`kiosk bench`: how fast this machine is, section by section; JSON, or a table for people.

A section is a function from `Options` to its figures, named in `SECTIONS`. Times are measured here and now: a
figure of another machine is not comparable, a ratio of two of one run is.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kiosk.cli.common import Json, print_json
from kiosk.domain.errors import OperatorError

__all__ = ["SECTIONS", "Options", "bench"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a section may be asked: the search's `sizes` and `engine`, and how often a thing is timed."""

    sizes: tuple[int, ...] = ()
    engine: str = "shipped"
    runs: int = 200


def vision(options: Options) -> dict[str, Any]:
    """Each stage of one frame, and look to decision at 30 frames a second; interpreters have one thread."""
    from kiosk.devices.camera_file import read_image
    from kiosk.evaluation.speed import FPS, look_at_clips, look_to_decision, on_canvas, stages, summary
    from kiosk.vision.look import LookRules
    from kiosk.vision.pipeline import Vision
    from kiosk.vision.runtime import runtime_name

    eyes = Vision(threads=1)
    rules = LookRules.of(eyes.manifest)
    still = on_canvas(read_image(_sample_picture()), 1280, 720)
    looks = [
        look_to_decision(eyes, rules, [still] * rules.max_frames) for _ in range(max(options.runs // 4, 1))
    ]
    figures: dict[str, Any] = {
        "runtime": runtime_name(),
        "threads": 1,
        "frame": f"{still.width} x {still.height}",
        "runs": options.runs,
        "stages_ms": stages(eyes, still, options.runs),
        "look_to_decision": {"fps": FPS, "still": summary([look for look in looks if look])},
    }
    data = os.environ.get("KIOSK_EVAL_DATA")
    if data:
        figures["look_to_decision"]["clips"] = summary(look_at_clips(Path(data) / "video", eyes, rules))
    return figures


def search(options: Options) -> dict[str, Any]:
    """One search among so many people: recall against the exact product, time, memory."""
    from kiosk.gallery.bench import search_section

    return search_section(options.sizes, options.engine, 5 * options.runs)


def _sample_picture() -> Path:
    """A shipped portrait: the first of the demo's."""
    from kiosk.assets import assets_dir

    folder = assets_dir() / "demo"
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not pictures:
        raise OperatorError(
            "there is no picture to look at", where=str(folder), do="Install the demo's assets."
        )
    return pictures[0]


def payment(options: Options) -> dict[str, Any]:
    """Signing and verifying, the journal's fsync, a payment's whole way to a sandbox and back."""
    from kiosk.cli.bench_kiosk import payment_figures

    return payment_figures(options.runs)


def app(options: Options) -> dict[str, Any]:
    """Cold start to the idle screen, idle load with the camera off, memory with 20,000 enrolled."""
    from kiosk.cli.bench_kiosk import app_figures

    return app_figures(min(options.runs, 3))


SECTIONS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "vision": vision,
    "search": search,
    "payment": payment,
    "app": app,
}
"""Name to section, in the order in which they run."""


def bench(
    only: Annotated[str, typer.Option("--only", metavar="SECTION", help="Run one section only.")] = "",
    sizes: Annotated[str, typer.Option(help="Sizes of galleries for the search: 1000,100000.")] = "",
    engine: Annotated[str, typer.Option(help="Which search: shipped, exact, int8 or hnsw.")] = "shipped",
    runs: Annotated[int, typer.Option(min=1, help="How often each thing is timed.")] = 200,
    as_json: Json = False,
) -> None:
    """Measure this machine. Sections that read evaluation data find it by $KIOSK_EVAL_DATA.

    Example: kiosk bench --only search --sizes 1000,20000 --json
    """
    if only and only not in SECTIONS:
        raise OperatorError(f"no section {only!r}", do=f"There are: {', '.join(SECTIONS)}.")
    options = Options(_sizes(sizes), engine, runs)
    figures: dict[str, Any] = {
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        **{name: section(options) for name, section in SECTIONS.items() if only in ("", name)},
    }
    if as_json:
        # One section alone is the object's own: `kiosk bench --only search --json` gives `recall_at_1`.
        print_json({"machine": figures["machine"], **figures[only]} if only else figures)
    else:
        _print(figures)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise OperatorError(f"--sizes {text!r}", do="Give whole numbers from 1 on, with commas between them.")
    return sizes


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _print(figures: dict[str, Any]) -> None:
    """One line a figure, with the names of the sections and parts that it belongs to."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("figure")
    table.add_column("value", justify="right")

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                add(f"{prefix} {name}".strip(), part)
        else:
            table.add_row(prefix, f"{value:.3f}" if isinstance(value, float) else str(value))

    add("", figures)
    Console().print(table)
