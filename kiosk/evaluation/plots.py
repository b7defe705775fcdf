"""The pictures of an evaluation's report: error trade-offs on probit axes, score histograms, rates.

Numbers in, PNG files out. The only file that imports matplotlib (the extra `report`), and only to draw. All
pictures share one style: per cent, n in the legend, colours that colour-blind people tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiosk.domain.errors import OperatorError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "Rate", "Sample", "check", "det", "histograms", "rates"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette (2008): told apart with every common colour vision."""
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.03, 1.0), "borderaxespad": 0}
FEW = 20
INK, FAINT = "#222222", "#C8C8C8"
DET_TICKS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99)
LEAST_END = 0.85
"""Trade-offs are drawn up to this rate, and further when the product works beyond it."""
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 110,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a trade-off: both rates in [0, 1] at each threshold. `shipped` is where the product works.

    `colour` counts kinds: the same kind has the same colour in every picture of a report; 0 is for who is
    rightly accepted.
    """

    name: str
    across: NDArray[np.float64]
    up: NDArray[np.float64]
    colour: int = 0
    shipped: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Scores of one kind of presentation or probe; kind 0 is drawn filled, the others as lines."""

    name: str
    scores: ArrayLike
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of rates: the rate, and its intervals by presentations and over people."""

    name: str
    rate: float
    presentations: tuple[float, float]
    people: tuple[float, float]
    colour: int = 0


def check() -> None:
    """OperatorError when pictures can't be drawn here: asked before anything is measured."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise OperatorError(
            "a report needs matplotlib, which is not installed here",
            where="--report",
            do="Install it: pip install 'facepay-kiosk[report]'.",
        ) from error


def det(path: Path, title: str, labels: tuple[str, str], curves: Sequence[Curve]) -> None:
    """Detection error trade-off (ISO/IEC 19795-1): both axes on the normal deviate's scale, in per cent.

    The lowest tick stands for zero, which that scale doesn't have.
    """
    from matplotlib.lines import Line2D

    zero = _below_all(curves)
    shipped = [rate for curve in curves if curve.shipped for rate in curve.shipped]
    most = min(max(LEAST_END, *shipped, 0.0), 0.999)  # what the product does has to be in the picture
    low, high = _probit([zero, most])
    with _figure(path, 7.2, 4.5, title) as figure:
        plot = figure.add_axes((0.085, 0.115, 3.6 / 7.2, 3.6 / 4.5))
        plot.plot([low, high], [low, high], color=FAINT, linewidth=0.8)
        plot.annotate(
            "equal errors", (high, high), xytext=(-4, -3), textcoords="offset points", color="#8A8A8A",
            ha="right", va="top", fontsize=7, rotation=45, rotation_mode="anchor",
        )  # fmt: skip
        for number, curve in enumerate(curves):
            look = _look(curve.colour)
            across, up = (_probit(np.clip(rate, zero, 0.999)) for rate in (curve.across, curve.up))
            plot.plot(across, up, **look, linewidth=max(2.4 - 0.4 * number, 1.2), label=curve.name)
            if curve.shipped is not None:
                at = _probit(np.clip(curve.shipped, zero, 0.999))
                plot.plot(
                    *at, "o", markersize=7, color=look["color"], markeredgecolor="white", clip_on=False,
                    zorder=5,
                )  # fmt: skip
        ticks = [tick for tick in DET_TICKS if zero <= tick <= most]
        for axis in (plot.xaxis, plot.yaxis):
            axis.set_ticks(list(_probit(ticks)), ["0", *(f"{100 * tick:g}" for tick in ticks[1:])])
        ends = (low - 0.08, high)
        plot.set(xlim=ends, ylim=ends, xlabel=labels[0], ylabel=labels[1])
        plot.tick_params(axis="x", labelsize=8)
        plot.grid(visible=True)
        handles, _ = plot.get_legend_handles_labels()
        if any(curve.shipped for curve in curves):
            dot = Line2D([], [], marker="o", color=INK, linestyle="none", label="at the shipped thresholds")
            handles.append(dot)
        plot.legend(handles=handles, **BESIDE, labelspacing=0.9)


def histograms(
    path: Path,
    title: str,
    label: str,
    panels: Sequence[tuple[str, Sequence[Sample]]],
    thresholds: Sequence[tuple[str, float]],
    *,
    logit: bool = False,
) -> None:
    """How the scores of each kind spread, one panel below the other; thresholds are upright lines.

    With `logit` scores in (0, 1) are drawn on the log-odds scale, where both ends can be told apart.
    """
    edges = _edges(panels, logit=logit)
    height = 1.3 + 1.7 * len(panels)
    with _figure(path, 7.2, height, title) as figure:
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        figure.subplots_adjust(
            left=0.085, right=0.66, top=1 - 0.65 / height, bottom=0.55 / height, hspace=0.35
        )
        for number, (plot, (name, samples)) in enumerate(zip(rows, panels, strict=True)):
            _histogram(plot, samples, edges, logit=logit)
            for what, threshold in thresholds:
                at = float(_log_odds(threshold)) if logit else threshold
                plot.axvline(at, color=INK, linewidth=0.9, linestyle=":")
                if number == 0:
                    plot.annotate(
                        f"{what} {threshold:g}", (at, 1), xycoords=("data", "axes fraction"), xytext=(2, -1),
                        textcoords="offset points", fontsize=7, va="top", rotation=90,
                    )  # fmt: skip
            plot.set_title(name, fontsize=9, fontweight="normal", pad=4)
            plot.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
            plot.grid(visible=True, axis="y")
            plot.legend(**BESIDE)
        if logit:
            shown = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
            ticks = [score for score in shown if edges[0] <= _log_odds(score) <= edges[-1]]
            rows[-1].set_xticks([float(_log_odds(score)) for score in ticks], [f"{s:g}" for s in ticks])
        rows[-1].set_xlabel(label)
        figure.supylabel("part of each kind, %", fontsize=9, x=0.005)


def rates(path: Path, title: str, rows: Sequence[Rate]) -> None:
    """Rates in per cent with their 95 % intervals: thick by presentations, thin over people."""
    from matplotlib.lines import Line2D

    height = 1.35 + 0.32 * len(rows)
    with _figure(path, 7.2, height, title) as figure:
        left = min(0.0105 * max(len(row.name) for row in rows), 0.6)
        plot = figure.add_axes((left, 0.5 / height, 0.97 - left, 1 - 1.2 / height))
        for y, row in zip(range(len(rows), 0, -1), rows, strict=True):
            colour, marker = _look(row.colour)["color"], "o" if row.colour else "s"
            plot.plot([100 * v for v in row.people], [y, y], color=colour, linewidth=1.0, marker="|")
            plot.plot([100 * v for v in row.presentations], [y, y], color=colour, linewidth=4.5, alpha=0.45)
            plot.plot(100 * row.rate, y, marker=marker, color=colour, linestyle="none", clip_on=False)
        plot.set_yticks(range(len(rows), 0, -1), [row.name for row in rows])
        far = 1.05 * max(max(row.people[1], row.presentations[1]) for row in rows)
        plot.set(xlabel="rate, %", ylim=(0.4, len(rows) + 0.6), xlim=(0, 100 * min(1.0, max(far, 0.05))))
        plot.grid(visible=True, axis="x")
        keys = [
            Line2D([], [], color="#777777", linewidth=4.5, alpha=0.6, label="95 % by presentations"),
            Line2D([], [], color="#777777", linewidth=1.0, marker="|", label="95 % over people"),
        ]
        figure.legend(handles=keys, loc="upper left", bbox_to_anchor=(left - 0.01, 1 - 0.3 / height), ncols=2)


@contextmanager
def _figure(path: Path, width_in: float, height_in: float, title: str) -> Iterator[Figure]:
    """A figure in the shared style, with its title, written to `path` at the end."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in))
        FigureCanvasAgg(figure)
        figure.suptitle(
            title, fontsize=11, fontweight="bold", x=0.015, y=1 - 0.12 / height_in, ha="left", va="top"
        )
        yield figure
        figure.savefig(path)


def _look(colour: int) -> dict[str, Any]:
    return {"color": COLOURS[colour % len(COLOURS)], "linestyle": DASHES[colour % len(DASHES)]}


def _histogram(plot: Axes, samples: Sequence[Sample], edges: NDArray[np.float64], *, logit: bool) -> None:
    for sample in samples:
        values = _log_odds(sample.scores) if logit else np.asarray(sample.scores, np.float64)
        values, look = np.clip(values, edges[0], edges[-1]), _look(sample.colour)
        weights = np.full(len(values), 100 / max(len(values), 1))
        if len(values) < FEW:  # bars of so few say nothing: each is a tick
            plot.plot(
                values, np.zeros(len(values)), "|", color=look["color"], markersize=16, markeredgewidth=1.5,
                clip_on=False, label=f"{sample.name} (ticks)",
            )  # fmt: skip
        elif sample.colour == 0:
            plot.hist(
                values, list(edges), weights=weights, color=look["color"], alpha=0.45, label=sample.name
            )
        else:
            bars: dict[str, Any] = {"histtype": "step", "linewidth": 1.5, "weights": weights}
            plot.hist(values, list(edges), label=sample.name, **bars, **look)


def _edges(panels: Sequence[tuple[str, Sequence[Sample]]], *, logit: bool) -> NDArray[np.float64]:
    everything = np.concatenate(
        [
            np.asarray(s.scores, np.float64)
            for _, samples in panels
            for s in samples
            if len(np.asarray(s.scores))
        ]
    )
    values = _log_odds(everything) if logit else everything[np.isfinite(everything)]
    return np.linspace(np.floor(values.min() * 10) / 10, np.ceil(values.max() * 10) / 10, 41)


def _below_all(curves: Sequence[Curve]) -> float:
    """The axes' lower end: the tick below the smallest rate that is not zero; a rate of zero lies on it."""
    seen = [rate[rate > 0].min() for curve in curves for rate in (curve.across, curve.up) if (rate > 0).any()]
    lowest = min(*seen, LEAST_END) if seen else 0.01
    below = [tick for tick in DET_TICKS if tick < lowest]
    return below[-1] if below else DET_TICKS[0]


def _probit(rates: ArrayLike) -> NDArray[np.float64]:
    deviate = NormalDist().inv_cdf
    return np.array([deviate(float(rate)) for rate in np.asarray(rates, np.float64)])


def _log_odds(scores: ArrayLike) -> NDArray[np.float64]:
    """Log-odds of scores in [0, 1], kept within those of 0.00005 and 0.99995."""
    inside = np.clip(np.asarray(scores, np.float64), 5e-5, 1 - 5e-5)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)
