"""A graph of what was made from what: columns by distance from the beginning, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.reporting.markup import Markup, el

WIDTH, HEIGHT, ACROSS, DOWN, EDGE = 150, 40, 60, 16, 8


@dataclass(frozen=True)
class Node:
    """``title`` in the box, ``note`` below it, ``about`` when pointed at; ``css`` its colour."""

    title: str
    note: str = ""
    about: str = ""
    css: str = ""


def columns(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The column of each node: one more than that of its furthest parent. ``edges``: (child,
    parent), of which those between the nodes count; a cycle is an error.

    Raises:
        ValueError: the edges go round in a circle.
    """
    parents: dict[str, list[str]] = {name: [] for name in nodes}
    for child, parent in edges:
        if child in parents and parent in parents:
            parents[child].append(parent)
    found: dict[str, int] = {}
    left = list(nodes)
    while left:
        ready = [name for name in left if all(parent in found for parent in parents[name])]
        if not ready:
            raise ValueError(f"edges: {', '.join(left)} go round in a circle")
        for name in ready:
            found[name] = 1 + max((found[parent] for parent in parents[name]), default=-1)
        left = [name for name in left if name not in found]
    return found


def graph(nodes: Mapping[str, Node], edges: Sequence[tuple[str, str]], label: str) -> Markup:
    """The graph as one SVG element; ``edges``: (child, parent)."""
    column = columns(list(nodes), edges)
    rows: dict[int, int] = {}
    at: dict[str, tuple[float, float]] = {}
    for name in nodes:
        row = rows.get(column[name], 0)
        rows[column[name]] = row + 1
        at[name] = (EDGE + column[name] * (WIDTH + ACROSS), EDGE + row * (HEIGHT + DOWN))
    width = 2 * EDGE + (1 + max(column.values(), default=0)) * (WIDTH + ACROSS) - ACROSS
    height = 2 * EDGE + max(rows.values(), default=1) * (HEIGHT + DOWN) - DOWN
    drawn = [
        _edge(at[parent], at[child]) for child, parent in edges if {child, parent} <= at.keys()
    ]
    boxes = [_box(node, at[name]) for name, node in nodes.items()]
    return el("svg", drawn, boxes, viewBox=f"0 0 {width} {height}", width=float(width),
              height=float(height), role="img", aria_label=label, class_="graph")  # fmt: skip


def _edge(start: tuple[float, float], end: tuple[float, float]) -> Markup:
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT / 2
    x2, y2 = end[0], end[1] + HEIGHT / 2
    half = (x1 + x2) / 2
    path = f"M{x1:.1f} {y1:.1f} C{half:.1f} {y1:.1f} {half:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return el("path", d=path, fill="none", stroke="currentColor", stroke_opacity=0.35)


def _box(node: Node, place: tuple[float, float]) -> Markup:
    x, y = place
    frame = el("rect", x=x, y=y, width=float(WIDTH), height=float(HEIGHT), rx=6.0, fill="none",
               stroke="currentColor", stroke_width=2.5 if node.css else 1.0)  # fmt: skip
    title = el("text", node.title, x=x + 8, y=y + 17, fill="currentColor", font_size=13.0)
    note = el("text", node.note, x=x + 8, y=y + 32, fill="currentColor", font_size=11.0,
              fill_opacity=0.65)  # fmt: skip
    return el(
        "g", el("title", node.about or node.title), frame, title, note, class_=node.css or None
    )
