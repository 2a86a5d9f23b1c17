"""A measured number with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value and its 95 % interval.

    Example: ``Figure(value=0.62, low=0.55, high=0.69, n=180)``. ``low == high == value`` where
    a quantity has no sampling error (a size on disk, say); ``n`` is then 0.
    """

    value: float
    low: float
    high: float
    n: int = 0

    @classmethod
    def exact(cls, value: float) -> Figure:
        """A figure without sampling error."""
        return cls(value, value, value)

    def as_json(self) -> dict[str, float]:
        """``{"value", "low", "high", "n"}``."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}

    def flat(self, name: str) -> dict[str, float]:
        """``{name: value, name_low: low, name_high: high}``, the form of ``summary.json``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}
