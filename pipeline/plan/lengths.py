"""Lengths that the shared vector of a round can have, as far as the plan determines them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class PossibleLengths:
    """Numbers of parameters; several series if both columns and rows of the vector were counted."""

    series: tuple[range, ...]

    @classmethod
    def one(cls, length: int) -> Self:
        """The one length that a vector must have."""
        return cls.these([length])

    @classmethod
    def these(cls, lengths: Iterable[int]) -> Self:
        """Exactly these lengths."""
        return cls(tuple(range(length, length + 1) for length in lengths))

    def __contains__(self, length: int) -> bool:
        """Whether a vector can have this length."""
        return any(length in series for series in self.series)

    @property
    def longest(self) -> int:
        """The largest possible length."""
        return max(series[-1] for series in self.series)

    @property
    def shortest(self) -> int:
        """The smallest possible length."""
        return min(series[0] for series in self.series)

    @property
    def only(self) -> int | None:
        """The length, if there is but one; else None."""
        return self.longest if sum(map(len, self.series)) == 1 else None

    def __str__(self) -> str:
        """As shown to people."""
        return ", ".join(
            f"{series[0]}" if len(series) == 1 else f"{series[0]} to {series[-1]} in steps of {series.step}"
            for series in self.series
        )
