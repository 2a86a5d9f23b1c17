"""Score methods for rates and for differences of paired rates; sound in small samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import optimize, stats


def quantile(level: float, freedom: float = math.inf) -> float:
    """The two-sided quantile: normal, or Student's with ``freedom`` degrees of freedom."""
    return float(stats.t.ppf((1 + level) / 2, freedom))


def wilson_bounds(rate: float, n: float, z: float) -> tuple[float, float]:
    """Wilson 1927: bounds of a rate seen in ``n`` (effective) trials, at the quantile ``z``."""
    spread = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / spread
    half = z / spread * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class PairedRates:
    """Paired 0/1 outcomes: in ``gains`` of ``n`` pairs only the second is 1, in ``losses`` the
    first. Counts are effective ones (divided by the design effect) where pairs are clustered;
    ``freedom`` is then the number of clusters less 1.
    """

    gains: float
    losses: float
    n: float
    freedom: float = math.inf

    @property
    def difference(self) -> float:
        return (self.gains - self.losses) / self.n

    def score(self, at: float) -> float:
        """Tango's score statistic of "the difference is ``at``", Tango 1998, Statistics in
        Medicine 17, eq. 5; at 0 its square is McNemar's. It falls as ``at`` rises."""
        a = 2 * self.n
        b = -self.gains - self.losses + (2 * self.n - self.gains + self.losses) * at
        c = -self.losses * at * (1 - at)
        share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = self.n * (2 * share + at * (1 - at))
        distance = self.gains - self.losses - self.n * at
        return distance / math.sqrt(max(variance, 1e-12))

    def interval(self, level: float) -> tuple[float, float]:
        """All differences that the score test does not reject at ``level``."""
        z, edge = quantile(level, self.freedom), 1 - 1e-9
        here = min(edge, max(-edge, self.difference))
        low, high = -1.0, 1.0
        if self.score(-edge) > z > self.score(here):
            low = float(optimize.brentq(lambda at: self.score(at) - z, -edge, here))
        if self.score(edge) < -z < self.score(here):
            high = float(optimize.brentq(lambda at: self.score(at) + z, here, edge))
        return low, high

    def p_above(self, at: float) -> float:
        """One-sided p-value for a difference above ``at``."""
        return float(stats.t.sf(self.score(at), self.freedom))


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that one of ``k`` replies is right, from ``n`` drawn ones of which ``c`` are:
    ``1 − C(n − c, k) / C(n, k)``, unbiased (Chen et al. 2021, arXiv 2107.03374, equation 1).

    Raises:
        ValueError: not ``1 <= k <= n`` or not ``0 <= c <= n``.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"n, c, k: {n}, {c}, {k}; expected 1 <= k <= n and 0 <= c <= n")
    return 1 - math.comb(n - c, k) / math.comb(n, k)
