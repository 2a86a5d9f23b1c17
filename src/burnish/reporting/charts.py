"""Inline SVG charts: crisp at any size, coloured by the page's theme, no library, no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from burnish.reporting.markup import Markup, el, join

WIDTH, HEIGHT = 360.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 42.0, 10.0, 10.0, 24.0
MAX_POINTS = 240


@dataclass(frozen=True)
class Line:
    """One line: points ``(x, y)``, an optional band ``(low, high)`` a point, a colour class, and
    optionally a text beside each point ("" for none); not ``joined``, the points alone."""

    name: str
    points: Sequence[tuple[float, float]]
    css: str = "c1"
    band: Sequence[tuple[float, float]] = ()
    smooth: bool = False
    labels: Sequence[str] = ()
    joined: bool = True


@dataclass(frozen=True)
class Interval:
    """One row of an interval chart: a point with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float
    css: str = "after"


@dataclass(frozen=True)
class Frame:
    """The mapping from data to drawing units of a line chart."""

    x0: float
    x1: float
    y0: float
    y1: float
    log: bool = False
    x_ticks: Sequence[float] = field(default_factory=tuple)
    percent: bool = False

    def x(self, value: float) -> float:
        share = (value - self.x0) / (self.x1 - self.x0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high, at = self.y0, self.y1, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, low))
        return HEIGHT - BOTTOM - (at - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers covering ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def named(values: Sequence[float], percent: bool = False) -> list[str]:
    """Numbers of one axis, with as many digits as it takes to tell them apart."""
    for digits in range(3, 8):
        names = [short(value, percent, digits) for value in values]
        if len(set(names)) == len(set(values)):
            break
    return names


def short(value: float, percent: bool = False, digits: int = 3) -> str:
    """A number as an axis shows it: 0.25, 3, 1.2k, 4.5M; with ``percent`` 0.25 is 25 %."""
    if percent:
        return f"{value * 100:.{digits}g} %"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{letter}"
    return "0" if abs(value) < 1e-12 else f"{value:.{digits}g}"


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``MAX_POINTS`` points: means of equal runs, so that nothing is skipped unseen."""
    if len(points) <= MAX_POINTS:
        return list(points)
    size = math.ceil(len(points) / MAX_POINTS)
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [(run[-1][0], sum(y for _, y in run) / len(run)) for run in runs]


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A debiased exponential mean over a tenth of the points."""
    keep = 1.0 - 1.0 / max(1.0, len(points) / 10.0)
    total = weight = 0.0
    result = []
    for x, y in points:
        total, weight = keep * total + y, keep * weight + 1.0
        result.append((x, total / weight))
    return result


def line_chart(
    lines: Sequence[Line],
    *,
    label: str,
    bound: tuple[float, str] | None = None,
    x_names: Sequence[str] = (),
    log: bool = False,
    domain: tuple[float, float] | None = None,
    percent: bool = False,
) -> Markup:
    """A line chart with axes, an optional dashed bound, and a legend for two or more lines.

    Args:
        lines: what to draw; points that are not finite are left out.
        label: what a screen reader says.
        bound: a horizontal limit ``(y, text)``.
        x_names: names of x = 0, 1, 2, ... in place of numbers.
        log: a logarithmic y axis; used only when every value is above zero.
        domain: the least and greatest y; taken from the data by default.
        percent: y values are shares, shown in percent.
    """
    lines = [_finite(line) for line in lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return Markup("")
    frame = replace(_frame(lines, bound, x_names, log, domain), percent=percent)
    parts = [_axes(frame, x_names)]
    for line in lines:
        parts.append(_line(line, frame))
    if bound is not None:
        parts.append(_bound(frame, *bound))
    chart = el("svg", parts, viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", role="img", aria_label=label)
    return join(chart, legend([(line.name, line.css) for line in lines]) if len(lines) > 1 else "")


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """Coloured names of lines or bars."""
    return el(
        "div", [el("span", el("i"), name, class_=css) for name, css in entries], class_="legend"
    )


def _finite(line: Line) -> Line:
    kept = [i for i, point in enumerate(line.points) if all(map(math.isfinite, point))]
    band = [line.band[i] for i in kept] if line.band else []
    labels = [line.labels[i] for i in kept] if line.labels else []
    points = [line.points[i] for i in kept]
    return replace(line, points=points, band=band, labels=labels)


def _frame(
    lines: Sequence[Line],
    bound: tuple[float, str] | None,
    x_names: Sequence[str],
    log: bool,
    domain: tuple[float, float] | None,
) -> Frame:
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    ys += [end for line in lines for pair in line.band for end in pair]
    if bound is not None:
        ys.append(bound[0])
    log = log and min(ys) > 0
    low, high = domain or (min(ys), max(ys))
    if domain is None and not log:
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        low, high = (0.0 if 0 <= low < (high - low) else low - room), high + room
    elif log:
        low, high = low / 1.15, high * 1.15
    x0, x1 = (0.0, max(len(x_names) - 1.0, 1.0)) if x_names else (min(xs), max(xs))
    if x1 <= x0:
        x0, x1 = x0 - 0.5, x0 + 0.5
    return Frame(x0, x1, low, high, log, ticks(x0, x1) if not x_names else range(len(x_names)))


def _axes(frame: Frame, x_names: Sequence[str]) -> Markup:
    base = HEIGHT - BOTTOM
    parts = []
    logarithmic = _log_ticks(frame) if frame.log else []
    heights = logarithmic if len(logarithmic) > 1 else ticks(frame.y0, frame.y1)
    for value, name in zip(heights, named(heights, frame.percent), strict=True):
        y = frame.y(value)
        parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid-line"))
        parts.append(el("text", name, x=LEFT - 6, y=y + 4, text_anchor="end"))
    parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="axis"))
    names = list(x_names) or named(frame.x_ticks)
    every = _spacing(names, frame)
    for place, (value, name) in enumerate(zip(frame.x_ticks, names, strict=True)):
        # The last one is always named, and those that would touch it are not.
        last = len(names) - 1
        if place != last and (place % every or last - place < every):
            continue
        anchor = "middle"
        if x_names and len(x_names) > 1:
            anchor = {0: "start", last: "end"}.get(place, "middle")
        parts.append(el("text", name, x=frame.x(value), y=HEIGHT - 7, text_anchor=anchor))
    return join(parts)


def _spacing(names: Sequence[str], frame: Frame) -> int:
    """Every how many names of the x axis there is room for one. The first and the last stand
    inside of the axis, half a name nearer to their neighbours."""
    if len(names) < 3:
        return 1
    wide = max(sum(12 if ord(letter) > 0x2E80 else 6.5 for letter in name) for name in names)
    apart = (frame.x(frame.x_ticks[-1]) - frame.x(frame.x_ticks[0])) / (len(names) - 1)
    return max(1, math.ceil(1.5 * wide / apart))


def _log_ticks(frame: Frame) -> list[float]:
    powers = range(math.floor(math.log10(frame.y0)), math.ceil(math.log10(frame.y1)) + 1)
    found = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    return [value for value in found if frame.y0 <= value <= frame.y1]


def _path(points: Sequence[tuple[float, float]], frame: Frame) -> str:
    return "M" + "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in points)


def _line(line: Line, frame: Frame) -> Markup:
    parts = []
    if line.band:
        upper = [(x, high) for (x, _), (_, high) in zip(line.points, line.band, strict=True)]
        lower = [(x, low) for (x, _), (low, _) in zip(line.points, line.band, strict=True)]
        outline = _path(upper + lower[::-1], frame) + "Z"
        parts.append(el("path", d=outline, class_="band"))
    points = thin(line.points)
    if line.smooth and len(points) > 20:
        parts.append(el("path", d=_path(points, frame), class_="faint"))
        points = smoothed(points)
    if line.joined:
        parts.append(el("path", d=_path(points, frame), class_="curve"))
    if len(points) <= 20 or not line.joined:
        for x, y in points:
            title = el("title", f"{line.name}: {short(y, frame.percent)}")
            parts.append(el("circle", title, cx=frame.x(x), cy=frame.y(y), r=4, class_="dot"))
    labelled = zip(line.points, line.labels, strict=True) if line.labels else ()
    parts += [_beside(frame, x, y, name) for (x, y), name in labelled if name]
    return el("g", parts, class_=line.css)


def _beside(frame: Frame, x: float, y: float, text: str) -> Markup:
    """A text above a point, to the side where there is room."""
    left = frame.x(x) > WIDTH / 2
    at = frame.x(x) + (-7 if left else 7)
    return el("text", text, x=at, y=frame.y(y) - 6, text_anchor="end" if left else "start")


def _bound(frame: Frame, value: float, text: str) -> Markup:
    y = frame.y(value)
    return join(
        el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="bound"),
        el("text", text, x=WIDTH - RIGHT, y=y - 5, text_anchor="end", class_="bound-text"),
    )


def interval_chart(
    rows: Sequence[Interval],
    *,
    label: str,
    domain: tuple[float, float],
    mark: tuple[float, str] | None = None,
    percent: bool = False,
) -> Markup:
    """Points with whiskers on one shared axis, a row each; ``mark`` draws a reference tick."""
    step, top = 24.0, 16.0 if mark else 2.0
    height = top + step * len(rows) + 18
    low, high = domain

    def at(value: float) -> float:
        return 8 + min(max((value - low) / (high - low), 0.0), 1.0) * (WIDTH - 16)

    parts = []
    base = top + step * len(rows)
    parts.append(el("line", x1=8, x2=WIDTH - 8, y1=base, y2=base, class_="axis"))
    marks = ticks(low, high)
    for value, name in zip(marks, named(marks, percent), strict=True):
        parts.append(el("line", x1=at(value), x2=at(value), y1=top, y2=base, class_="grid-line"))
        anchor = "end" if at(value) > WIDTH - 20 else "start" if at(value) < 20 else "middle"
        label_x = {"end": WIDTH, "start": 0.0}.get(anchor, at(value))
        parts.append(el("text", name, x=label_x, y=base + 14, text_anchor=anchor))
    for index, row in enumerate(rows):
        y = top + step * index + step / 2
        title = el(
            "title",
            f"{row.name}: " + " … ".join(short(v, percent) for v in (row.low, row.value, row.high)),
        )
        whisker = el("line", x1=at(row.low), x2=at(row.high), y1=y, y2=y, class_="whisker")
        dot = el("circle", title, cx=at(row.value), cy=y, r=6, class_="dot")
        parts.append(el("g", whisker, dot, class_=row.css))
    if mark is not None:
        x = at(mark[0])
        parts.append(el("line", x1=x, x2=x, y1=top, y2=base, class_="tick"))
        anchor = "end" if x > WIDTH * 0.6 else "start"
        parts.append(el("text", mark[1], x=x, y=11, text_anchor=anchor))
    return el("svg", parts, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=label)
