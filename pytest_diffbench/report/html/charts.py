"""Charts of a case: stages, steps, earlier runs, memory, and how far two calls are apart. SVG without scripts."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from markupsafe import Markup

from pytest_diffbench.judge.trace.entries import place_of
from pytest_diffbench.report.html.svg import drawing, element, percent, stretched
from pytest_diffbench.report.sentences import page as sentences
from pytest_diffbench.report.units import format_bytes, format_distance, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.records import Baseline, CaseReport, Guidance, Stage
    from pytest_diffbench.records.details import TimeDetails, TraceDetails

_BAR_PX = 18
_PLOT_PX = 132
_PAD_PX = 10
_STEPS_PX = 56


def stage_bars(rows: Sequence[Mapping[Stage, float]], labels: Sequence[str]) -> Markup:
    """Bars of stages, in seconds, under each other on one scale."""
    longest_s = max(sum(row.values()) for row in rows)
    shapes: list[Markup] = []
    for number, row in enumerate(rows):
        begin_s = 0.0
        for stage, value_s in row.items():
            shapes.append(
                element(
                    "rect",
                    element("title", f"{stage}: {format_seconds(value_s)}"),
                    x=percent(begin_s / longest_s),
                    y=number * (_BAR_PX + 6),
                    width=percent(value_s / longest_s),
                    height=_BAR_PX,
                    class_=f"stage-{stage}",
                )
            )
            begin_s += value_s
    height_px = len(rows) * (_BAR_PX + 6) - 6
    places = [(label, number * (_BAR_PX + 6) + 13.0) for number, label in enumerate(labels)]
    return framed(places, drawing(shapes, height_px, sentences.stages_label(rows, labels)), height_px)


def step_strip(
    steps_s: Sequence[float], base_s: Sequence[float], guidance: Guidance | None, *, brief: bool
) -> Markup:
    """A bar for each step, the baseline's as a mark across it; coloured by what guidance did.

    Args:
        steps_s: median of each step, in seconds.
        base_s: the same of the baseline; empty where there is none.
        guidance: of the call.
        brief: without a title for each bar, which takes a tenth of the room.
    """
    longest_s = max([*steps_s, *base_s])
    count = max(len(steps_s), len(base_s))
    used = [step.used for step in guidance.steps] if guidance is not None else []
    label = sentences.steps_label(steps_s, base_s, used)
    shapes: list[Markup] = []
    if brief:
        paths: dict[str, str] = {}
        for number, value_s in enumerate(steps_s):
            kind = f"used-{used[number] if number < len(used) else 'plain'}"
            left, height = 100 * number / count, value_s / longest_s * _STEPS_PX
            bar = f"M{left:.2f} {_STEPS_PX}v-{height:.1f}h{86 / count:.2f}v{height:.1f}z"
            paths[kind] = paths.get(kind, "") + bar
        for number, value_s in enumerate(base_s):
            down = _STEPS_PX - value_s / longest_s * _STEPS_PX
            paths["was"] = (
                paths.get("was", "")
                + f"M{100 * number / count:.2f} {down:.1f}h{86 / count:.2f}v1.5h-{86 / count:.2f}z"
            )
        shapes = [element("path", d=path, class_=kind) for kind, path in paths.items()]
        return element(
            "svg",
            *shapes,
            class_="chart steps",
            width="100%",
            height=_STEPS_PX,
            viewBox=f"0 0 100 {_STEPS_PX}",
            preserveAspectRatio="none",
            role="img",
            aria_label=label,
        )
    for number in range(count):
        across, width = percent(number / count), percent(0.86 / count)
        kind = used[number] if number < len(used) else "plain"
        if number < len(steps_s):
            height_px = steps_s[number] / longest_s * _STEPS_PX
            shapes.append(
                element(
                    "rect",
                    element("title", sentences.step_title(number, kind, steps_s[number])),
                    x=across,
                    y=_STEPS_PX - height_px,
                    width=width,
                    height=height_px,
                    class_=f"used-{kind}",
                )
            )
        if number < len(base_s):
            down_px = _STEPS_PX - base_s[number] / longest_s * _STEPS_PX
            shapes.append(element("rect", x=across, y=down_px, width=width, height=1.5, class_="was"))
    return drawing(shapes, _STEPS_PX, label, "steps")


def history(report: CaseReport, baseline: Baseline, details: TimeDetails | None, *, worse: bool) -> Markup | None:
    """Median times of the baseline's runs, this run's, and what lies within chance; None without runs."""
    run = report.observation.run
    runs = baseline.timed_runs
    if not runs or not run.rounds:
        return None
    counted = {timed.id for timed in baseline.times}
    usual_s = details.baseline_s if details is not None and details.baseline_s else None
    usual_s = usual_s or statistics.median(timed.median_s for timed in baseline.times or runs)
    marks_s = [usual_s, *(timed.median_s for timed in (*runs, *report.confirmations, run))]
    band = _band(usual_s, details)
    limit_s = usual_s * (1 + details.floor_rel) if details is not None and details.floor_rel else None
    scale = _Scale([*marks_s, *(band or ()), *([limit_s] if limit_s else [])], format_seconds)
    now = (run, *report.confirmations)
    count = len(runs) + len(now)
    shapes: list[Markup] = scale.grid()
    if band is not None:
        top_px, bottom_px = scale.down_px(band[1]), scale.down_px(band[0])
        shapes.append(
            element("rect", x="0%", y=top_px, width="100%", height=max(bottom_px - top_px, 1.0), class_="band")
        )
    if limit_s is not None:
        shapes.append(_across(scale.down_px(limit_s), "limit"))
    for number, timed in enumerate((*runs, *now)):
        is_now = number >= len(runs)
        across = percent((number + 0.5) / count)
        low_s, high_s = min(timed.totals_s), max(timed.totals_s)
        class_ = ("now worse" if worse else "now") if is_now else "" if timed.id in counted else "aside"
        shapes.append(
            element(
                "line",
                x1=across,
                x2=across,
                y1=scale.down_px(high_s),
                y2=scale.down_px(low_s),
                class_=f"range {class_}".strip(),
            )
        )
        title = element("title", sentences.run_title(timed.started, timed.median_s, len(timed.rounds)))
        shapes.append(
            element("circle", title, cx=across, cy=scale.down_px(timed.median_s), r=4, class_=f"run {class_}".strip())
        )
    return scale.framed(drawing(shapes, _PLOT_PX, sentences.history_label(len(runs), usual_s, run.median_s), "plot"))


def _band(usual_s: float, details: TimeDetails | None) -> tuple[float, float] | None:
    """Times that chance explains."""
    if details is None or details.chance_interval is None:
        return None
    low, high = details.chance_interval
    return usual_s * low, usual_s * min(high, 4.0)


def divergence(trace: TraceDetails) -> Markup | None:
    """Distance of predictions and latents from the baseline's, step by step, on a logarithmic scale; None without."""
    lines: dict[str, dict[int, float]] = {}
    for name, gap_rel in trace.series:
        place = place_of(name)
        if place is not None and place.kind in ("prediction", "latents") and gap_rel is not None:
            of_kind = lines.setdefault(place.kind, {})
            of_kind[place.step] = max(gap_rel, of_kind.get(place.step, 0.0))
    gaps_rel = [gap_rel for of_kind in lines.values() for gap_rel in of_kind.values() if gap_rel > 0]
    if not gaps_rel:
        return None
    limit_rel = trace.threshold_rel
    scale = _Scale([*gaps_rel, *([limit_rel] if limit_rel else [])], format_distance, logarithmic=True)
    last = max(max(of_kind) for of_kind in lines.values())
    shapes: list[Markup] = scale.grid()
    if limit_rel:
        shapes.append(_across(scale.down_px(limit_rel), "limit"))
    for kind, of_kind in lines.items():
        points = [
            ((step + 0.5) / (last + 1), scale.down_px(gap_rel) if gap_rel > 0 else float(_PLOT_PX - _PAD_PX))
            for step, gap_rel in sorted(of_kind.items())
        ]
        if len(points) > 1:
            shapes.append(stretched(points, _PLOT_PX, f"line {kind}"))
        shapes += [
            element(
                "circle",
                element("title", f"step {step}, {kind}: {format_distance(of_kind[step])}"),
                cx=percent(across),
                cy=down_px,
                r=2.5 if last > 20 else 3.5,
                class_=f"dot {kind}",
            )
            for step, (across, down_px) in zip(sorted(of_kind), points, strict=True)
        ]
    label = sentences.divergence_label(last + 1, max(gaps_rel), trace.place)
    return scale.framed(drawing(shapes, _PLOT_PX, label, "plot"), f"step 0\t{last}")


def memory_bars(rows: Sequence[tuple[str, int | None, int | None]]) -> Markup:
    """Peak bytes of stages, this run's over the baseline's: by name, before and now."""
    largest = max(max(before or 0, after or 0) for _, before, after in rows)
    shapes: list[Markup] = []
    for number, (name, before, after) in enumerate(rows):
        top = number * 26
        for offset, size_bytes, class_ in ((0, before, "before"), (9, after, "after")):
            if size_bytes:
                title = element("title", f"{name}: {format_bytes(size_bytes)}")
                width = percent(size_bytes / largest)
                shapes.append(
                    element(
                        "rect", title, x="0%", y=top + offset, width=width, height=8, rx=2, class_=f"memory {class_}"
                    )
                )
    height_px = len(rows) * 26 - 8
    places = [(name, number * 26 + 12.0) for number, (name, _, _) in enumerate(rows)]
    return framed(places, drawing(shapes, height_px, sentences.memory_label(rows)), height_px, "wide")


def frame_bars(gaps_levels: Sequence[float]) -> Markup:
    """How far each frame of a video is from the baseline's: root mean square difference, 0 to 255."""
    most, count = max(gaps_levels), len(gaps_levels)
    shapes = [
        element(
            "rect",
            element("title", f"frame {number}: {gap:.1f}/255"),
            x=percent(number / count),
            y=_STEPS_PX - max(gap / most * _STEPS_PX, 1.0),
            width=percent(0.86 / count),
            height=max(gap / most * _STEPS_PX, 1.0),
            class_="frame-gap worst" if gap == most else "frame-gap",
        )
        for number, gap in enumerate(gaps_levels)
    ]
    return drawing(shapes, _STEPS_PX, sentences.frames_label(gaps_levels), "steps")


def decision_bar(counts: Sequence[tuple[str, int]], label: str) -> Markup:
    """A bar of decisions, each as wide as its share of the cases."""
    total = sum(count for _, count in counts)
    shapes: list[Markup] = []
    begin = 0
    for decision, count in counts:
        title = element("title", f"{count:,} {decision}")
        width = percent(count / total)
        shapes.append(
            element("rect", title, x=percent(begin / total), y=0, width=width, height=10, class_=f"is-{decision}")
        )
        begin += count
    return drawing(shapes, 10, label)


def framed(labels: Sequence[tuple[str, float]], plot: Markup, height_px: float, class_: str = "") -> Markup:
    """A plot with labels on its left.

    Args:
        labels: each with how far below the top its line of text stands, in pixels.
        plot: of that height, and what stands below it.
        height_px: of the plot.
        class_: further classes.
    """
    texts = [element("text", label, x="100%", y=down_px, text_anchor="end") for label, down_px in labels]
    axis = element("svg", *texts, class_="axis", height=height_px, aria_hidden="true")
    return element("div", axis, element("div", plot), class_=f"framed {class_}".strip())


def _across(down_px: float, class_: str) -> Markup:
    return element("line", x1="0%", x2="100%", y1=down_px, y2=down_px, class_=class_)


class _Scale:
    """A vertical axis on which values fit; those of a logarithmic one are above 0."""

    def __init__(self, values: Sequence[float], text: Callable[[float], str], *, logarithmic: bool = False) -> None:
        self._move: Callable[[float], float] = math.log10 if logarithmic else float
        self._text = text
        moved = [self._move(value) for value in values]
        low, high = min(moved), max(moved)
        self._ticks = _decades(low, high) if logarithmic else _even_ticks(low, high)
        margin = 0.08 * (high - low) or abs(high) * 0.05 or 1.0
        self._low, self._high = min(low - margin, *map(self._move, self._ticks)), high + margin

    def down_px(self, value: float) -> float:
        """How far below the top of the plot a value lies."""
        share = (self._move(value) - self._low) / (self._high - self._low)
        return _PAD_PX + (1 - share) * (_PLOT_PX - 2 * _PAD_PX)

    def grid(self) -> list[Markup]:
        """Lines at the ticks."""
        return [_across(self.down_px(tick), "grid") for tick in self._ticks]

    def framed(self, plot: Markup, below: str = "") -> Markup:
        """A plot with the axis on its left, and the first and last label under it, parted by a tab."""
        under = Markup("")
        if below:
            first, _, last = below.partition("\t")
            under = element("div", element("span", first), element("span", last), class_="under", aria_hidden="true")
        places = [(self._text(tick), self.down_px(tick) + 4) for tick in self._ticks]
        return framed(places, plot + under, _PLOT_PX)


def _even_ticks(low: float, high: float) -> list[float]:
    """Two to four round values within a range."""
    span = (high - low) or abs(high) * 0.1 or 1.0
    size = 10 ** math.floor(math.log10(span / 2))
    size *= next((factor for factor in (5, 2, 1) if span / (factor * size) >= 2), 1)
    first = math.ceil((low - 0.2 * span) / size)
    ticks = [number * size for number in range(first, math.floor((high + 0.05 * span) / size) + 1)]
    return ticks[:: math.ceil(len(ticks) / 4)] or [high]


def _decades(low: float, high: float) -> list[float]:
    exponents = range(math.floor(low), math.floor(high) + 1)
    return [10.0**exponent for exponent in exponents][:: math.ceil(len(exponents) / 4)]
