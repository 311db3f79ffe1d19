"""Settings of the data preparation; all partners of a federation must use equal ones, but for OwnTables."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Literal

ASSAY_TYPES = ("ADME", "PANEL", "CATALOG-PANEL", "NON-CATALOG-PANEL", "OTHER", "AUX_HTS", "AUX_PL")
"""The assay types of MELLODDY's table T0."""

DOSE_TYPES = ("OTHER", "PANEL", "CATALOG-PANEL", "NON-CATALOG-PANEL")
"""The types of dose-response assays, whose values are pXC50."""

LSH_BITS = (26490, 8094, 25216, 21099, 2487, 2991, 9639, 17984, 24189, 8272, 1787, 31834, 11815, 8648, 27066, 17552)
"""MELLODDY-TUNER's bits of high entropy among ChEMBL's compounds; they mean nothing in another fingerprint."""

SCHEMA_CONFIG: dict[str, object] = {"extra": "forbid", "strict": True, "use_attribute_docstrings": True}
"""How pydantic reads a table of a configuration file as one of these classes; the text under a setting describes it."""

_MOST_LSH_BITS = 32


def _require(key: str, found: object, expected: str, *, ok: bool) -> None:
    if not ok:
        raise ValueError(f"{key}: found {found!r}, expected {expected}")


def _require_whole(key: str, found: int, low: int, high: int) -> None:
    _require(key, found, f"a whole number from {low} to {high}", ok=low <= found <= high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chemistry:
    """How structures are standardised; too large or too complex ones are rejected."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    tautomers: Literal["canonical", "keep"] = "canonical"
    """The tautomer of a structure: "keep" is the one drawn, for structures standardised before; "canonical" costs some
    15 ms each.
    """

    include_stereo: bool = False
    """If false, stereo marks are removed."""

    max_heavy_atoms: int = 100
    """Most heavy atoms of the parent, after salts are stripped."""

    max_tautomers: int = 256
    """The tautomer enumerator stops at this many tautomers."""

    max_transforms: int = 1000
    """The tautomer enumerator stops after this many transformations."""

    max_rings: int = 12
    """Most rings; more would make the scaffold network explode."""

    def __post_init__(self) -> None:
        """Refuse values out of range, naming the key."""
        _require("tautomers", self.tautomers, "'canonical' or 'keep'", ok=self.tautomers in ("canonical", "keep"))
        _require_whole("max_heavy_atoms", self.max_heavy_atoms, 1, 1000)
        _require_whole("max_tautomers", self.max_tautomers, 1, 100_000)
        _require_whole("max_transforms", self.max_transforms, 1, 100_000)
        _require_whole("max_rings", self.max_rings, 3, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Morgan fingerprint: ECFP, or FCFP with `features`."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    radius: int = 3
    """Radius in bonds; 3 is ECFP6."""

    n_bits: int = 32_000
    """Length after folding; fewer bits make trunk and updates smaller."""

    chirality: bool = False
    """If true, enantiomers differ, where the chemistry includes stereo."""

    features: bool = False
    """If true, atoms differ by their role (donor, acceptor, ...), not by element."""

    counts: bool = False
    """If true, each value is how often its environment occurs, not 1."""

    def __post_init__(self) -> None:
        """Refuse values out of range, naming the key."""
        _require_whole("radius", self.radius, 0, 10)
        _require_whole("n_bits", self.n_bits, 16, 2**24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """How compounds are assigned to folds, keyed by the group's structure seed, and which folds are held out."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    method: Literal["scaffold", "lsh", "random"] = "scaffold"
    """What stays together in one fold: scaffolds, buckets of similar fingerprints (lsh), or nothing (random)."""

    scaffold_balanced: bool = False
    """If true, compounds of at most one ring are spread, for more even folds; MELLODDY-TUNER does not."""

    lsh_bits: tuple[int, ...] = LSH_BITS
    """Bits of the fingerprint, as they are before their permutation, that define a bucket; for method lsh only."""

    n_folds: int = 5
    """Number of folds, 3 to 100."""

    test: int = 0
    """The test fold, which only the final report looks at."""

    validation: int = 1
    """The validation fold, which scores rounds."""

    def __post_init__(self) -> None:
        """Refuse folds that do not exist or coincide, naming the key."""
        known = ("scaffold", "lsh", "random")
        _require("method", self.method, "'scaffold', 'lsh' or 'random'", ok=self.method in known)
        balanced = self.scaffold_balanced
        _require(
            "scaffold_balanced",
            balanced,
            "false unless method is 'scaffold'",
            ok=not balanced or self.method == known[0],
        )
        bits = self.lsh_bits
        several = 1 <= len(set(bits)) == len(bits) <= _MOST_LSH_BITS and min(bits) >= 0
        _require("lsh_bits", bits, f"1 to {_MOST_LSH_BITS} different places in the fingerprint", ok=several)
        _require_whole("n_folds", self.n_folds, 3, 100)
        _require_whole("test", self.test, 0, self.n_folds - 1)
        _require_whole("validation", self.validation, 0, self.n_folds - 1)
        _require("validation", self.validation, "another fold than test", ok=self.validation != self.test)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activities:
    """Which values are credible, which thresholds define tasks, and which tasks are trained and scored."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    credible_min: float = 3.0
    """Smallest credible value of OTHER and all panels, log units."""

    credible_max: float = 10.0
    """Largest credible value of OTHER and all panels, log units."""

    credible_hts_min: float = -10.0
    """Smallest credible value of AUX_HTS."""

    credible_hts_max: float = 10.0
    """Largest credible value of AUX_HTS."""

    credible_adme_min: float | None = None
    """Smallest credible value of ADME; absent: no limit."""

    credible_adme_max: float | None = None
    """Largest credible value of ADME; absent: no limit."""

    decimals: int = 2
    """Aggregated values of OTHER and NON-CATALOG-PANEL are rounded to this many decimals."""

    near_constant_std: float = 1e-12
    """An assay whose values have no larger standard deviation, log units, is reported as near-constant."""

    adaptive_thresholds: tuple[float, ...] = (8.0, 7.0, 6.0, 5.0, 4.7, 4.4)
    """Log units; tried in order for an assay to which T0 gives no threshold. The first that meets the next three limits
    is taken, else the median.
    """

    adaptive_active_share: float = 0.2
    """Smallest share of actives at an adaptive threshold."""

    adaptive_min_active: int = 25
    """Fewest actives at an adaptive threshold."""

    adaptive_min_inactive: int = 25
    """Fewest inactives at an adaptive threshold."""

    auxiliary_offset: float = 0.5
    """Log units; auxiliary thresholds lie this far below the lowest and above the highest threshold."""

    auxiliary_until_experts: int = 3
    """An assay with more expert thresholds than this has no auxiliary ones."""

    hts_threshold: float = 3.0
    """Threshold of AUX_HTS on the value; mirrored for direction low, on the size of the value without a direction."""

    training_min_active: int = 25
    """A task with fewer active compounds is not trained."""

    training_min_inactive: int = 25
    """A task with fewer inactive compounds is not trained."""

    aux_training_min_active: int = 10
    """An AUX_HTS or AUX_PL task with fewer active compounds is not trained."""

    aux_training_min_inactive: int = 10_000
    """An AUX_HTS or AUX_PL task with fewer inactive compounds is not trained."""

    evaluation_min_active: int = 10
    """A task with fewer active compounds in any fold is trained but not scored."""

    evaluation_min_inactive: int = 10
    """A task with fewer inactive compounds in any fold is trained but not scored."""

    catalogue_min_labels: int = 400
    """A catalogue task with fewer labels is an ordinary NON-CATALOG-PANEL task."""

    catalogue_min_fold_active: int = 10
    """A catalogue task with fewer active compounds in any fold is an ordinary NON-CATALOG-PANEL task."""

    catalogue_min_fold_inactive: int = 10
    """A catalogue task with fewer inactive compounds in any fold is an ordinary NON-CATALOG-PANEL task."""

    aux_training_weight: float = 0.1
    """Weight of an AUX assay in training; any other assay weighs 1."""

    auxiliary_tasks: bool = True
    """If false, there are no auxiliary thresholds, no AUX_HTS and no AUX_PL assays."""

    def __post_init__(self) -> None:
        """Refuse empty ranges, negative counts and impossible shares, naming the key."""
        ranges = {
            "credible_max": (self.credible_min, self.credible_max),
            "credible_hts_max": (self.credible_hts_min, self.credible_hts_max),
            "credible_adme_max": (self.credible_adme_min, self.credible_adme_max),
        }
        for key, (low, high) in ranges.items():
            _require(key, high, f"more than {low}", ok=low is None or high is None or low < high)
        _require_whole("decimals", self.decimals, 0, 15)
        share = self.adaptive_active_share
        _require("adaptive_active_share", share, "a share between 0 and 1", ok=0 < share < 1)
        _require("aux_training_weight", self.aux_training_weight, "more than 0", ok=self.aux_training_weight > 0)
        _require("auxiliary_offset", self.auxiliary_offset, "more than 0", ok=self.auxiliary_offset > 0)
        _require("hts_threshold", self.hts_threshold, "more than 0", ok=self.hts_threshold > 0)
        _require("near_constant_std", self.near_constant_std, "0 or more", ok=self.near_constant_std >= 0)
        for key in self.__slots__:
            if "_min_" in key:
                _require_whole(key, getattr(self, key), 0, 10**9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Which assays give regression tasks, and how much censored values weigh; a partner may train none.

    A value is exact if its qualifier is "=", else censored.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    training_min_values: int = 50
    """An assay with fewer values is not trained."""

    training_min_exact: int = 25
    """An assay with fewer exact values (qualifier =) is not trained."""

    evaluation_min_exact: int = 25
    """An assay with fewer exact values in any fold is trained but not scored."""

    evaluation_min_std: float = 0.5
    """Log units; an assay whose exact values have a smaller standard deviation in any fold is not scored, ADME
    excepted.
    """

    aux_training_weight: float = 0.1
    """Weight of an AUX assay in training; any other assay weighs 1."""

    censored_share: float = 0.05
    """Censored values together weigh no more than as if they were this share of the values."""

    def __post_init__(self) -> None:
        """Refuse negative counts and impossible shares, naming the key."""
        for key in ("training_min_values", "training_min_exact", "evaluation_min_exact"):
            _require_whole(key, getattr(self, key), 0, 10**9)
        _require("evaluation_min_std", self.evaluation_min_std, "0 or more", ok=self.evaluation_min_std >= 0)
        _require("aux_training_weight", self.aux_training_weight, "more than 0", ok=self.aux_training_weight > 0)
        share = self.censored_share
        _require("censored_share", share, "at least 0 and less than 1", ok=0 <= share < 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How tables become matrices; data_prep/README.md says where defaults differ from MELLODDY-TUNER's."""

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    chemistry: Chemistry = field(default_factory=Chemistry)
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    folds: Folds = field(default_factory=Folds)
    activities: Activities = field(default_factory=Activities)
    regression: Regression = field(default_factory=Regression)

    def __post_init__(self) -> None:
        """Refuse lsh_bits that do not belong to the fingerprint, if they define the folds."""
        if self.folds.method == "lsh":
            bits, n_bits = self.folds.lsh_bits, self.fingerprint.n_bits
            _require("folds: lsh_bits", bits, f"places below fingerprint.n_bits, {n_bits}", ok=max(bits) < n_bits)
            expected = "bits chosen for this fingerprint: the default ones are those of radius 3 and 32,000 bits"
            _require(
                "folds: lsh_bits", bits, expected, ok=bits != LSH_BITS or _same_bits(self.fingerprint, Fingerprint())
            )


def _same_bits(first: Fingerprint, second: Fingerprint) -> bool:
    """Return whether two fingerprints set the same bits; their counts may differ."""
    return asdict(first) | {"counts": False} == asdict(second) | {"counts": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTables:
    """How one partner reads its own tables, and how much of T1 may be left out; each partner has its own.

    partner.toml has these settings with the same descriptions (`pipeline.plan.member_configs`).
    """

    __pydantic_config__: ClassVar[dict[str, object]] = SCHEMA_CONFIG

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What columns are called in your tables, if not as `hocket prepare --columns` shows: {smiles = "STRUCTURE"}, or of
    several names the first that a table has: {input_compound_id = ["CMPD", "Compound"]}.
    """

    unit: str = ""
    """Unit of T1's values without standard_unit: M, mM, uM, nM, pM, log10 nM, -log10 M, ... (data_prep/README.md);
    empty: log units.
    """

    accept: frozenset[str] = frozenset()
    """Assay ids whose values are taken as they are, although they can hardly be in log units or are all rejected."""

    most_rejected: float = 1.0
    """Share of T1's rows; if more are rejected, or an assay whole, nothing is prepared and no run goes on; 1: any."""

    date_column: str = ""
    """Column of T1, or else of T0, with the day of each measurement, such as 2024-03-31; a time may follow. The report
    then also compares the models on the newest compounds. A row with another text there is rejected. Empty: none.
    """

    @property
    def reading(self) -> dict[str, object]:
        """What changes the accepted rows, as JSON values; empty for the defaults."""
        columns = {column: list(names) for column, names in self.columns.items()}
        facts: dict[str, object] = {"columns": columns, "unit_if_unstated": self.unit, "accept": sorted(self.accept)}
        facts["date_column"] = self.date_column
        return {name: fact for name, fact in facts.items() if fact}
