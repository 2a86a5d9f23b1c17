"""From measurements to one table. Pure functions; the rest of the page is kept as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

TOLERANCE = 1e-4
"""Two losses are the same when they differ by at most this share of the larger one."""
NOTES = "## Notes"
COLUMNS = (
    "model", "workload", "loss", "tok/CPU-s", "TRL", "ratio (min–max)", "wall ratio", "MFU",
    "TRL", "peak MiB", "TRL", "ratio",
)  # fmt: skip

Clock = Literal["cpu", "wall"]


@dataclass(frozen=True)
class Measured:
    """One run of a worker: after its warm-up, and the peak rate of a matrix product beside it.

    ``tokens`` are useful ones; ``flops`` 0 where no figure is given; ``memory`` in bytes.
    """

    steps: int
    tokens: int
    flops: float
    wall: float
    cpu: float
    memory: int
    gemm: float

    def rate(self, clock: Clock) -> float:
        """Useful tokens a second."""
        return self.tokens / (self.cpu if clock == "cpu" else self.wall)


@dataclass(frozen=True)
class Line:
    """One line of the table. ``problem`` says why there are no measurements."""

    model: str
    about: str
    losses: tuple[Sequence[float], Sequence[float]] = ((), ())
    burnish: Sequence[Measured] = ()
    peer: Sequence[Measured] = ()
    problem: str = ""


def difference(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest relative difference of losses; infinite where their numbers differ."""
    if len(ours) != len(theirs) or not ours:
        return float("inf")
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in pairs)


def ratio(
    ours: Sequence[Measured], theirs: Sequence[Measured], clock: Clock
) -> tuple[float, float, float]:
    """Ratio of the median rates, and the smallest and largest of the pairs measured in turn."""
    pairs = [a.rate(clock) / b.rate(clock) for a, b in zip(ours, theirs, strict=True)]
    medians = [median(run.rate(clock) for run in side) for side in (ours, theirs)]
    return medians[0] / medians[1], min(pairs), max(pairs)


def peak(lines: Sequence[Line]) -> float:
    """The best matrix product of all runs, in operations a second."""
    return max((run.gemm for line in lines for run in (*line.burnish, *line.peer)), default=0.0)


def table(lines: Sequence[Line]) -> str:
    """All lines as a Markdown table."""
    best = peak(lines)
    rows = [COLUMNS, ("---", "---", *["---:"] * (len(COLUMNS) - 2))]
    rows += [_cells(line, best) for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(line: Line, best: float) -> tuple[str, ...]:
    start = (line.model, line.about)
    if line.problem:
        return (*start, line.problem, *[""] * (len(COLUMNS) - 3))
    ours, theirs = line.burnish, line.peer
    if not theirs:
        rate, memory = median(run.rate("cpu") for run in ours), max(run.memory for run in ours)
        used, size = _utilisation(ours, best), f"{memory / 2**20:,.0f}"
        return (*start, "", f"{rate:,.0f}", "", "no peer", "", used, "", size, "", "")
    cpu, low, high = ratio(ours, theirs, "cpu")
    memory = [max(run.memory for run in side) for side in (ours, theirs)]
    return (
        *start,
        f"{line.losses[0][-1]:.4g} (Δ {difference(*line.losses):.0e})",
        *(f"{median(run.rate('cpu') for run in side):,.0f}" for side in (ours, theirs)),
        f"**{cpu:.2f}** ({low:.2f}–{high:.2f})",
        f"{ratio(ours, theirs, 'wall')[0]:.2f}",
        *(_utilisation(side, best) for side in (ours, theirs)),
        *(f"{size / 2**20:,.0f}" for size in memory),
        f"{memory[0] / memory[1]:.2f}",
    )


def _utilisation(runs: Sequence[Measured], best: float) -> str:
    if not all(run.flops for run in runs):
        return "–"
    return f"{median(run.flops / run.wall for run in runs) / best:.2f}"


def page(facts: Mapping[str, str], lines: Sequence[Line], before: str) -> str:
    """The whole page. The notes of the page ``before`` stay as they were."""
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    notes = NOTES + before.partition(NOTES)[2] if NOTES in before else f"{NOTES}\n"
    gemm = f"- peak GEMM, float32: {peak(lines) / 1e9:.0f} GFLOP/s"
    return (
        "# burnish against TRL\n\n"
        "Written by `python -m benchmarks.run`; what the columns mean is in "
        "[README.md](README.md).\nOnly the notes at the end are written by hand.\n\n"
        f"{listed}\n{gemm}\n\n{table(lines)}\n\n{notes.rstrip()}\n"
    )
