"""Input columns that few partners hold: which of the first layer's weights are shared."""

from typing import Self

from pydantic import Field, model_validator

from pipeline.plan.toml_schema import Schema

FEWEST_HOLDERS = 2  # partners that hold a column, for it to be shared
_DEFAULT_HOLDERS = 3  # with two holders each learns the other's column


class Columns(Schema):
    """Fingerprint bits that few partners' compounds set stay out of the updates. See secure/THREAT_MODEL.md."""

    min_partners: int = Field(default=_DEFAULT_HOLDERS, ge=0)
    """Weights of a bit that fewer partners hold are private at each; 0: all are shared, and nothing is counted."""

    min_compounds: int = Field(default=1, ge=1)
    """Training compounds that set a bit, for a partner to count as a holder."""

    withhold: float = Field(default=0.0, ge=0, lt=1)
    """Share of bits, drawn at random, that a partner holds but does not flag; these stay private at it."""

    @model_validator(mode="after")
    def _enough_holders(self) -> Self:
        if 0 < self.min_partners < FEWEST_HOLDERS:
            raise ValueError(
                f"min_partners: found {self.min_partners}, expected 0 or at least {FEWEST_HOLDERS}: the weights of a "
                "bit that one partner holds would show its compounds"
            )
        return self

    @property
    def are_counted(self) -> bool:
        """Whether holders are counted; if not, every column is shared."""
        return self.min_partners > 0
