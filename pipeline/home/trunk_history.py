"""The trunks of all rounds in a partner's home: their sizes, which are checked, and if there is room themselves."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.audit.incoming import TrunkSizes, jumps, measure_trunk
from partners.files.round_checkpoint import TrunkFile
from partners.network.trunk import TrunkLayout
from partners.settings import TrunkSettings
from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.plan.toml_schema import Schema, check_table

_BYTES_PER_VALUE, _GB = 4, 10**9


class _KeptLook(Schema):
    round_no: int
    sizes: dict[str, float]
    warnings: tuple[str, ...]


class _KeptLooks(Schema):
    looks: tuple[_KeptLook, ...]


@dataclass(frozen=True, slots=True)
class TrunkHistory:
    """What a home keeps of the trunks at the start of each round; equal at all partners, but for the looks."""

    home: Home
    n_rounds: int  # of the plan
    most_gb: float  # for all trunks

    def warnings(
        self,
        round_no: int,
        vector: NDArray[np.float32],
        layout: TrunkLayout,
        trunk_settings: TrunkSettings,
        x: sparse.csr_matrix,
        untrained: NDArray[np.float32] | None = None,
    ) -> list[str]:
        """Measure the trunk at the start of a round; return warnings of sizes far outside those of earlier rounds.

        vector, layout : of what is shared; x : (n_compounds, columns in the vector) of own training compounds
        untrained      : drawn from the plan's seed, to compare a home's first trunk with if others trained it
        """
        looks = {look.round_no: look for look, _ in self.looks()}
        now = measure_trunk(round_no, vector, layout, trunk_settings, x)
        before = [look for number, look in sorted(looks.items()) if number < round_no]
        if not before and untrained is not None:
            before = [measure_trunk(round_no, untrained, layout, trunk_settings, x)]
        texts = jumps(before, now)
        rows = [(look, past) for look, past in self.looks() if look.round_no != round_no] + [(now, texts)]
        rows.sort(key=lambda row: row[0].round_no)
        write_json(self._looks, {"looks": [asdict(look) | {"warnings": warnings} for look, warnings in rows]})
        return texts

    def looks(self) -> list[tuple[TrunkSizes, list[str]]]:
        """Sizes and warnings of each round's trunk, in order. Raises ConfigError for a damaged file."""
        if not self._looks.exists():
            return []
        try:
            kept = check_table(read_json(self._looks), _KeptLooks, str(self._looks))
        except (ValueError, ConfigError) as error:
            broken = ConfigError(f"{self._looks}: is damaged: {error}")
            broken.add_note("remove it: the trunks are then compared with later ones only")
            raise broken from error
        return [(TrunkSizes(row.round_no, row.sizes), list(row.warnings)) for row in kept.looks]

    def keep(self, round_no: int, vector: NDArray[np.float32]) -> None:
        """Keep the shared vector (n_params,) at the start of a round, if those of all rounds have room."""
        if (self.n_rounds + 1) * vector.size * _BYTES_PER_VALUE > self.most_gb * _GB:
            shutil.rmtree(self._trunks, ignore_errors=True)
            return
        TrunkFile.write(self._file(round_no), vector)

    def kept(self) -> list[int]:
        """Rounds whose vector is kept, in order."""
        return sorted(int(path.stem.removeprefix("trunk-")) for path in self._trunks.glob("trunk-*.safetensors"))

    def vectors(self, rounds: Sequence[int], layout: TrunkLayout) -> Iterator[NDArray[np.float32]]:
        """The kept vectors of some rounds, one at a time; layout: of the vector. Raises CheckpointDamaged."""
        for round_no in rounds:
            yield TrunkFile(self._file(round_no), layout).read()

    def _file(self, round_no: int) -> Path:
        return self._trunks / f"trunk-{round_no:04d}.safetensors"

    @property
    def _trunks(self) -> Path:
        return self.home.audit / "trunks"

    @property
    def _looks(self) -> Path:
        return self.home.audit / "incoming.json"
