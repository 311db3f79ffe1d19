"""Preparation of structures against a plain loop over RDKit's functions, on one core: structures per CPU second.

Ours: data_prep with its guarded child processes, CPU time of all of them. Floor: a loop that does nothing but call the
RDKit functions that each molecule needs, objects made once. Straightforward: every step for every molecule, the whole
scaffold network of RDKit for each. Runs alternate in chunks. With --tuner also MELLODDY-TUNER by its own classes, in
the same turns: standard form, fingerprint with permuted bits, scaffolds and folds, one step after the other over a data
frame, as its scripts do, without their files. FOLDER is a clone of its repository; packages that its modules import and
these steps do not use may be missing.
usage: data_prep.py [most structures] [--tuner FOLDER]
"""

import argparse
import importlib
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import polars as pl
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold, rdScaffoldNetwork
from rich.console import Console
from rich.table import Table
from scipy import sparse

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # `-P` and the child processes find the folders by it

from data_prep.folds.compounds import make_compounds  # noqa: E402
from data_prep.folds.keyed import bit_permutation  # noqa: E402
from data_prep.settings import Preparation  # noqa: E402
from data_prep.structures.cache import keys_of, opened  # noqa: E402
from data_prep.structures.scaffolds import _network_settings, _preference, fold_scaffold  # noqa: E402
from data_prep.structures.standardise import Standardiser, _needs_no_cleaning, murcko_scaffold  # noqa: E402
from data_prep.structures.steps import StructureStep  # noqa: E402
from data_prep.structures.structures import fold_scaffolds, standardise_all  # noqa: E402
from data_prep.structures.watchdog import worker_pool  # noqa: E402

SHARED = Path(os.environ.get("HOCKET_SHARED", ROOT.parent / "shared"))
SEED = bytes(range(32))
SETTINGS = Preparation()
N_STRUCTURES, CHUNK, N_WARM = 3000, 500, 50_000
TUNER_KEY = "melloddy"
# What MELLODDY-TUNER's modules import and its steps do not use; RDKit no longer has the last one.
UNUSED = ("pandera", "jsonschema", "dask.dataframe", "rdkit.Chem.MolStandardize.tautomer")
# What we set out for.
OF_FLOOR, OF_STRAIGHTFORWARD, FINGERPRINTS, WARM, TWO_WORKERS = 0.80, 1.5, 5000, 20_000, 1.9


def cpu_s() -> float:
    """CPU seconds so far: this process, its living children and those it waited for."""
    spent = time.process_time()
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent + waited.ru_utime + waited.ru_stime


def taken(call: Callable[[], object], clock: Callable[[], float] = cpu_s) -> float:
    """Seconds that a call takes."""
    before = clock()
    call()
    return clock() - before


def table_of(smiles: Sequence[str]) -> pl.DataFrame:
    """The structures in the form that read_structures returns."""
    ids = {"input_row": range(1, len(smiles) + 1), "input_compound_id": [f"C{i}" for i in range(len(smiles))]}
    return pl.DataFrame({**ids, "smiles": smiles}, schema_overrides={"input_row": pl.UInt32})


@dataclass
class Rdkit:
    """RDKit's objects, created once."""

    tautomers: rdMolStandardize.TautomerEnumerator = field(default_factory=rdMolStandardize.TautomerEnumerator)
    metals: rdMolStandardize.MetalDisconnector = field(default_factory=rdMolStandardize.MetalDisconnector)
    normaliser: rdMolStandardize.Normalizer = field(default_factory=rdMolStandardize.Normalizer)
    reioniser: rdMolStandardize.Reionizer = field(default_factory=rdMolStandardize.Reionizer)
    morgan: rdFingerprintGenerator.FingerprintGenerator64 = field(
        default_factory=lambda: rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=32_000)
    )

    def __post_init__(self) -> None:
        """Set the peer's limits."""
        self.tautomers.SetMaxTautomers(SETTINGS.chemistry.max_tautomers)
        self.tautomers.SetRemoveSp3Stereo(False)  # noqa: FBT003 - RDKit takes no keywords here

    def clean(self, mol: Chem.Mol) -> Chem.Mol:
        """Metals, normalisation, reionisation."""
        mol = self.metals.Disconnect(Chem.RemoveHs(mol))
        return self.reioniser.reionize(self.normaliser.normalize(mol))


def fold_by_network(murcko: Chem.Mol) -> str:
    """The fold scaffold, chosen among all nodes of RDKit's network as the compared program does."""
    network = rdScaffoldNetwork.CreateScaffoldNetwork([murcko], _network_settings())
    return min((str(node) for node in network.nodes), key=_preference)


def floor(kit: Rdkit, smiles: Iterable[str]) -> None:
    """Time of only the RDKit calls that a molecule needs; each distinct scaffold is folded once."""
    scaffolds = set()
    for text in smiles:
        mol = Chem.MolFromSmiles(text)
        if not _needs_no_cleaning(mol):
            mol = rdMolStandardize.ChargeParent(mol)
        Chem.RemoveStereochemistry(mol)
        mol = kit.tautomers.Canonicalize(mol)
        Chem.SanitizeMol(mol)
        if not _needs_no_cleaning(mol):
            mol = kit.clean(mol)
        Chem.AssignStereochemistry(mol, force=True, cleanIt=True)
        mol = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
        Chem.MolToSmiles(mol)
        scaffolds.add(murcko_scaffold(mol))
        kit.morgan.GetFingerprint(mol)
    for scaffold in scaffolds - {None}:
        mol = Chem.MolFromSmiles(scaffold)
        if rdMolDescriptors.CalcNumRings(mol) > 3:
            fold_by_network(mol)


def straightforward(kit: Rdkit, smiles: Iterable[str]) -> None:
    """Time of every step for every molecule."""
    for text in smiles:
        mol = rdMolStandardize.ChargeParent(Chem.MolFromSmiles(text))
        for atom in mol.GetAtoms():
            atom.SetIsotope(0)
        Chem.RemoveStereochemistry(mol)
        mol = kit.tautomers.Canonicalize(mol)
        Chem.SanitizeMol(mol)
        mol = kit.clean(mol)
        Chem.AssignStereochemistry(mol, force=True, cleanIt=True)
        canonical = Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))
        mol = Chem.MolFromSmiles(canonical)
        list(kit.morgan.GetFingerprint(mol).GetOnBits())
        scaffold = Chem.MolFromSmiles(Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol)))
        if scaffold.GetNumAtoms():
            fold_by_network(scaffold)


def ours(smiles: Sequence[str]) -> None:
    """Our standard form, scaffold, bits and fold scaffold of each structure."""
    fold_scaffolds(standardise_all(smiles, SETTINGS.chemistry, SETTINGS.fingerprint).murcko)


class Tuner:
    """MELLODDY-TUNER's steps, with the parameters that our defaults have too."""

    def __init__(self, clone: Path) -> None:
        sys.path.insert(0, str(clone))
        for name in UNUSED:
            sys.modules.setdefault(name, MagicMock())
        names = ("standardizer", "df_transformer", "descriptor_calculator", "scaffold_folding")
        modules = [importlib.import_module(f"melloddy_tuner.utils.{name}") for name in names]
        standardizer, transformer, descriptors, folding = modules
        chemistry, bits = SETTINGS.chemistry, SETTINGS.fingerprint
        calculators = {
            "standardise": standardizer.Standardizer(
                chemistry.max_heavy_atoms, chemistry.max_tautomers, include_stereoinfo=False
            ),
            "fingerprint": descriptors.DescriptorCalculator(
                radius=bits.radius, hashed=True, fold_size=bits.n_bits, binarized=True, secret=TUNER_KEY
            ),
            "fold scaffold": folding.ScaffoldFoldAssign(TUNER_KEY, SETTINGS.folds.n_folds),
        }
        outputs = {"standardise": ["canonical"], "fingerprint": ["bits", "counts"], "fold scaffold": ["m", "s", "fold"]}
        self._steps = {
            name: transformer.DfTransformer(
                calculator,
                {"smiles" if name == "standardise" else "canonical": "smiles"},
                [*outputs[name], f"{name} done", f"{name} error"],
                success_column=f"{name} done",
            )
            for name, calculator in calculators.items()
        }

    def run(self, smiles: Sequence[str]) -> dict[str, float]:
        """CPU seconds of each step; all structures must pass."""
        frame: Any = pd.DataFrame({"smiles": list(smiles)})
        spent = {}
        for name, step in self._steps.items():
            before = cpu_s()
            frame = step.process_dataframe(frame.copy())[0]
            spent[name] = cpu_s() - before
        if len(frame) != len(smiles):
            raise ValueError(f"MELLODDY-TUNER: found {len(frame)} of {len(smiles)} structures, expected all")
        return spent


def accepted(smiles: Sequence[str]) -> list[str]:
    """Structures that every compared way can process: the loops have no limits."""
    found = standardise_all(smiles, SETTINGS.chemistry, SETTINGS.fingerprint, workers=os.cpu_count() or 1)
    return [text for text, reason in zip(smiles, found.reasons, strict=True) if reason is None]


def is_small(smiles: str) -> bool:
    """Whether MELLODDY-TUNER accepts the structure, which counts atoms before salts are stripped."""
    return Chem.MolFromSmiles(smiles).GetNumAtoms() < SETTINGS.chemistry.max_heavy_atoms


def alternating(smiles: Sequence[str], tuner: Tuner | None) -> dict[str, float]:
    """CPU seconds of all ways on all chunks, in turns."""
    kit = Rdkit()
    sides: dict[str, Callable[[Sequence[str]], object]] = {
        "ours": ours,
        "floor": lambda some: floor(kit, some),
        "straightforward": lambda some: straightforward(kit, some),
    }
    if tuner:
        sides["MELLODDY-TUNER"] = tuner.run
    spent = dict.fromkeys(sides, 0.0)
    with worker_pool(), rdBase.BlockLogs():
        ours(["C"])  # the child process starts
        for start in range(0, len(smiles), CHUNK):
            some = smiles[start : start + CHUNK]
            for name, run in list(sides.items())[:: 1 if start // CHUNK % 2 else -1]:
                spent[name] += taken(lambda run=run, some=some: run(some))
    return spent


def by_step(smiles: Sequence[str]) -> dict[str, float]:
    """Structures per CPU second of each of our steps, in one process."""
    standardiser, places = Standardiser(SETTINGS.chemistry, SETTINGS.fingerprint), bit_permutation(SEED, 32_000)
    found, mols = [], []

    def permuted(bits: list[np.ndarray]) -> None:
        """Rows of x in the order of make_compounds."""
        starts = np.cumsum([0, *map(len, bits)])
        ones = np.ones(starts[-1], np.float32)
        sparse.csr_matrix((ones, places[np.concatenate(bits)], starts), (len(bits), len(places))).sort_indices()

    with rdBase.BlockLogs():
        whole_s = taken(lambda: found.extend(map(standardiser.structure, smiles)))
        mols.extend(Chem.MolFromSmiles(one.smiles) for one in found)
        bits_s = min(taken(lambda: permuted([standardiser._fingerprint(mol)[0] for mol in mols])) for _ in "ab")
        fold_s = taken(lambda: [fold_scaffold(murcko) for murcko in {one.murcko for one in found} - {None}])
    seconds = {"standardise": whole_s - bits_s, "fingerprint": bits_s, "fold scaffold": fold_s}
    return {name: len(smiles) / spent for name, spent in seconds.items()}


def by_workers(smiles: Sequence[str]) -> float:
    """Wall clock of one worker divided by that of two, children started before, the better of two runs each."""

    def run(workers: int) -> float:
        settings = (SETTINGS.chemistry, SETTINGS.fingerprint)
        return taken(lambda: standardise_all(smiles, *settings, workers=workers), time.perf_counter)

    with worker_pool():
        run(2)
        pairs = [(run(1), run(2)) for _ in range(2)]
    return min(one for one, _ in pairs) / min(two for _, two in pairs)


def from_cache(smiles: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """CPU seconds of make_compounds with an empty cache, with all but 1 % and with everything in it."""
    some, file = random.Random(1).sample(smiles, max(1, len(smiles) // 100)), folder / "structures.cache"

    def run(texts: Sequence[str]) -> float:
        return taken(lambda: make_compounds(table_of(texts), SETTINGS, SEED, cache=file))

    most_s = run(sorted(set(smiles) - set(some)))
    new_s, warm_s = run(smiles), min(run(smiles) for _ in range(3))
    return most_s + new_s - warm_s, new_s, warm_s


def warm_many(smiles: Sequence[str], folder: Path) -> float:
    """Structures per CPU second of make_compounds with the cache full, for a table of N_WARM structures.

    The cache only looks at texts, so real outcomes stand under texts with a number behind them, which give as many
    different standard forms.
    """
    step, file = StructureStep(SETTINGS.chemistry, SETTINGS.fingerprint), folder / "structures.cache"
    with opened(file) as cache:
        found = list(cache.lookup(keys_of(step, smiles), 1.0).values())
        for turn in range(-(-N_WARM // len(found))):
            made = [one._replace(text=f"{one.text} {turn}") for one in found]
            cache.store(keys_of(step, [f"{i} {turn}" for i in range(len(found))]), made, 1.0)
    texts = [f"{i} {turn}" for turn in range(-(-N_WARM // len(found))) for i in range(len(found))][:N_WARM]
    table = table_of(texts)
    return N_WARM / min(taken(lambda: make_compounds(table, SETTINGS, SEED, cache=file)) for _ in range(2))


def report(name: str, smiles: Sequence[str], tuner: Tuner | None) -> None:
    """Measure and print one set of structures."""
    smiles = [text for text in accepted(list(dict.fromkeys(smiles))) if is_small(text)]
    spent, steps, n = alternating(smiles, tuner), by_step(smiles), len(smiles)
    with tempfile.TemporaryDirectory() as folder:
        cold_s, new_s, warm_s = from_cache(smiles, Path(folder))
        many = warm_many(smiles, Path(folder))
    table = Table("", "ours", "beside", "limit", "ratio", title=f"{name}: {n} structures, per CPU second")

    def line(what: str, mine: float, beside: float, limit: str = "", who: str = "") -> None:
        table.add_row(what, f"{mine:,.1f}", f"{beside:,.1f} {who}".rstrip(), limit, f"{mine / beside:.2f}")

    rate = {side: n / seconds for side, seconds in spent.items()}
    line("end to end", rate["ours"], rate["floor"], f">= {OF_FLOOR}", "floor")
    line("end to end", rate["ours"], rate["straightforward"], f">= {OF_STRAIGHTFORWARD}", "straightforward")
    if tuner:
        line("end to end", rate["ours"], rate["MELLODDY-TUNER"], "", "MELLODDY-TUNER")
    beside = {step: n / seconds for step, seconds in tuner.run(smiles).items()} if tuner else {}
    for step, found in steps.items():
        limit = f">= {FINGERPRINTS:,}/s" if step == "fingerprint" else ""
        line(step, found, beside.get(step, np.nan), limit, "MELLODDY-TUNER" if beside else "not run")
    line("warm cache", n / warm_s, n / cold_s, "", "cold")
    line(f"warm cache, {N_WARM:,}", many, WARM, f">= {WARM:,}/s", "limit")
    line("seconds with 1 % new", new_s, cold_s, "about .01", "cold")
    line("two workers, wall clock", by_workers(smiles), 1.0, f">= {TWO_WORKERS}", "one worker")
    Console().print(table)


def main() -> None:
    """Measure the first structures of dev_p3's partners, and the golden ones."""
    parser = argparse.ArgumentParser(description="Preparation of structures against RDKit and MELLODDY-TUNER.")
    parser.add_argument("most", type=int, nargs="?", default=N_STRUCTURES)
    parser.add_argument("--tuner", type=Path, help="a clone of MELLODDY-TUNER's repository")
    given = parser.parse_args()
    most, tuner = given.most, Tuner(given.tuner) if given.tuner else None
    tables = sorted((SHARED / "data/dev_p3").glob("P*/T2.csv.gz"))
    if not tables:
        Console().print(f"data_prep.py: skipped, needs {SHARED}/data/dev_p3 (set HOCKET_SHARED)")
        return
    each = -(-most // len(tables))
    report("dev_p3", [text for path in tables for text in pl.read_csv(path)["smiles"].head(each)], tuner)
    golden = pl.read_csv(SHARED / "golden/tuner/structures.csv.gz")["smiles"]
    report("golden", golden.gather_every(max(1, 2 * golden.len() // most)).to_list(), tuner)


if __name__ == "__main__":
    main()
