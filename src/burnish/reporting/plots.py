"""Charts of distributions: histograms, shares beside their targets, points on a map."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, legend, short, ticks
from burnish.reporting.markup import Markup, el, join

GROUP_COLOURS = ("c1", "c2", "c3", "c5", "c6", "c7", "c8")
OTHER = "c4"
_MAP_WIDTH, _MAP_HEIGHT, _MARGIN = 720.0, 420.0, 8.0
_TITLE = 110


@dataclass(frozen=True)
class Histogram:
    """``counts [n]`` of values between ``edges [n + 1]``; a value on an edge counts to the right.

    ``log`` puts them on a logarithmic axis, for counts of things: edges are then above 0 and
    between whole numbers.
    """

    edges: Sequence[float]
    counts: Sequence[int]
    log: bool = False


@dataclass(frozen=True)
class Share:
    """A named count of a whole, with the range of shares it should have, if any."""

    name: str
    count: int
    target: tuple[float, float] | None = None


@dataclass(frozen=True)
class Dot:
    """A record on a map: where, of which group, and what is shown when pointed at."""

    x: float
    y: float
    group: str
    title: str


def histogram(values: Histogram, *, label: str, css: str = "c1") -> Markup:
    """Bars between the edges, their height by count; pointing at one shows its range and count.

    Returns nothing where there is no value.
    """
    most = max(values.counts, default=0)
    if not most:
        return Markup("")
    base, width = HEIGHT - BOTTOM, WIDTH - LEFT - RIGHT
    parts = []
    for value in [tick for tick in ticks(0.0, float(most), 4) if tick == int(tick)]:
        y = base - value / most * (base - TOP)
        parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid-line"))
        parts.append(el("text", short(value), x=LEFT - 6, y=y + 4, text_anchor="end"))
    for place, count in enumerate(values.counts):
        height = count / most * (base - TOP)
        if count:
            low, high = values.edges[place : place + 2]
            ends = (math.ceil(low), math.floor(high)) if values.log else (low, high)
            title = el("title", f"{' – '.join(dict.fromkeys(map(short, ends)))}: {count:,}")
            x = LEFT + _along(values, low) * width + 0.5
            bar = max(LEFT + _along(values, high) * width - 0.5 - x, 1.0)
            shown = max(height, 1.0)
            parts.append(
                el("rect", title, x=x, y=base - shown, width=bar, height=shown, class_="column")
            )
    parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="axis"))
    for value in _x_ticks(values):
        at = LEFT + _along(values, value) * width
        parts.append(el("text", short(value), x=at, y=HEIGHT - 7, text_anchor="middle"))
    return el(
        "svg",
        el("g", parts, class_=css),
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
        aria_label=label,
    )


def _along(values: Histogram, value: float) -> float:
    low, high = values.edges[0], values.edges[-1]
    if values.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _x_ticks(values: Histogram) -> list[float]:
    low, high = values.edges[0], values.edges[-1]
    if not values.log:
        return ticks(low, high)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps: tuple[int, ...] = (1, 3) if len(powers) < 4 else (1,)
    found = [m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high]
    return found if len(found) > 1 else [low, high]


def shares(rows: Sequence[Share], whole: int, *, target: str, css: str = "") -> Markup:
    """A bar for each part of a whole, with its count, its share and a mark at its target.

    Args:
        rows: the parts, in the order to show.
        whole: what they are parts of; above 0.
        target: what a target is called, such as ``target``.
    """
    ends = [end for row in rows for end in (row.count / whole, *(row.target or ()))]
    most = max(ends, default=0.0) or 1.0
    parts: list[Markup] = []
    for row in rows:
        said = f"{row.count:,} · {_percent(row.count / whole)}"
        mark = None
        if row.target is not None:
            low, high = row.target
            mark = low / most, high / most
            said += f" ({target} {_range(low, high)})"
        parts += [
            el("span", row.name, class_="name"),
            el("span", said, class_="num"),
            bar(row.count / whole / most, mark),
        ]
    return el("div", parts, class_=f"funnel shares {css}".strip())


def bar(share: float, mark: tuple[float, float] | None = None) -> Markup:
    """A bar that fills ``share`` of its place, with an optional marked range of it.

    It is a drawing, not a styled box: pages that allow no inline styles can show it.
    """
    parts = [el("rect", width=f"{100 * share:.1f}%", height="100%", rx=4, class_="bar")]
    if mark is not None:
        low, high = mark
        left, wide = f"{100 * low:.1f}%", f"{max(100 * (high - low), 0.8):.1f}%"
        parts.append(el("rect", x=left, y=-3, width=wide, height=16, class_="target"))
    return el("svg", parts, class_="track", aria_hidden="true")


def span(value: float, low: float, high: float, domain: tuple[float, float]) -> Markup:
    """A point with its interval on the axis that all rows of a table share."""
    start, width = domain[0], (domain[1] - domain[0]) or 1.0
    left, at, right = (f"{100 * (end - start) / width:.1f}%" for end in (low, value, high))
    return el(
        "svg",
        el("line", x1=left, x2=right, y1="50%", y2="50%", class_="whisker"),
        el("circle", cx=at, cy="50%", r=5, class_="dot"),
        class_="span after",
        aria_hidden="true",
    )


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _range(low: float, high: float) -> str:
    return _percent(low) if low == high else f"{low * 100:.3g} – {_percent(high)}"


def point_map(dots: Sequence[Dot], *, label: str, other: str) -> Markup:
    """Points in a frame, coloured by the largest groups; ``other`` names the rest of them.

    Coordinates are stretched so that the middle 98 % fill the frame; what is outside lies on its
    edge. Returns nothing without points.
    """
    if not dots:
        return Markup("")
    groups = Counter(dot.group for dot in dots).most_common(len(GROUP_COLOURS))
    colours = {name: GROUP_COLOURS[place] for place, (name, _) in enumerate(groups)}
    across = _stretch([dot.x for dot in dots], _MAP_WIDTH)
    down = _stretch([dot.y for dot in dots], _MAP_HEIGHT)
    circles = [
        el(
            "circle",
            el("title", f"{dot.group}: {dot.title}"[:_TITLE]),
            cx=round(x, 1),
            cy=round(y, 1),
            r=3,
            class_=colours.get(dot.group, OTHER),
        )
        for dot, x, y in zip(dots, across, down, strict=True)
    ]
    names = [(name, colours[name]) for name, _ in groups]
    if len({dot.group for dot in dots}) > len(groups):
        names.append((other, OTHER))
    chart = el(
        "svg",
        el("g", circles, class_="points"),
        viewBox=f"0 0 {_MAP_WIDTH:.0f} {_MAP_HEIGHT:.0f}",
        role="img",
        aria_label=label,
    )
    return join(chart, legend(names))


def _stretch(values: Sequence[float], size: float) -> list[float]:
    """Values to drawing units from margin to margin."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
    room = high - low or 1.0
    inside = [min(max((value - low) / room, 0.0), 1.0) for value in values]
    return [_MARGIN + share * (size - 2 * _MARGIN) for share in inside]
