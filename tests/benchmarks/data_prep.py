"""Preparation of structures against a plain loop over RDKit's functions, on one core: structures per CPU second.

Ours: data_prep with its guarded child processes, CPU time of all of them. Floor: a loop that does nothing but call the
RDKit functions that each molecule needs, objects made once. Straightforward: every step for every molecule, the whole
scaffold network of RDKit for each. Runs alternate in chunks. Peer: MELLODDY-TUNER's figures as once measured on one
core of such a machine, quoted, not run.
usage: data_prep.py [most structures]
"""

import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
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
PEER = {"end to end": 30, "standardise": 57, "fingerprint": 390, "fold scaffold": 82}  # structures/s, quoted
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


def accepted(smiles: Sequence[str]) -> list[str]:
    """Structures that every compared way can process: the loops have no limits."""
    found = standardise_all(smiles, SETTINGS.chemistry, SETTINGS.fingerprint, workers=os.cpu_count() or 1)
    return [text for text, reason in zip(smiles, found.reasons, strict=True) if reason is None]


def alternating(smiles: Sequence[str]) -> dict[str, float]:
    """CPU seconds of the three ways on all chunks, in turns."""
    kit = Rdkit()
    sides: dict[str, Callable[[Sequence[str]], object]] = {
        "ours": ours,
        "floor": lambda some: floor(kit, some),
        "straightforward": lambda some: straightforward(kit, some),
    }
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


def report(name: str, smiles: Sequence[str]) -> None:
    """Measure and print one set of structures."""
    smiles = accepted(list(dict.fromkeys(smiles)))
    spent, steps, n = alternating(smiles), by_step(smiles), len(smiles)
    with tempfile.TemporaryDirectory() as folder:
        cold_s, new_s, warm_s = from_cache(smiles, Path(folder))
        many = warm_many(smiles, Path(folder))
    table = Table("", "ours", "beside", "limit", "ratio", title=f"{name}: {n} structures, per CPU second")

    def line(what: str, mine: float, beside: float, limit: str = "", who: str = "") -> None:
        table.add_row(what, f"{mine:,.1f}", f"{beside:,.1f} {who}".rstrip(), limit, f"{mine / beside:.2f}")

    rate = {side: n / seconds for side, seconds in spent.items()}
    line("end to end", rate["ours"], rate["floor"], f">= {OF_FLOOR}", "floor")
    line("end to end", rate["ours"], rate["straightforward"], f">= {OF_STRAIGHTFORWARD}", "straightforward")
    line("end to end", rate["ours"], PEER["end to end"], "", "peer, quoted")
    for step, found in steps.items():
        line(step, found, PEER[step], f">= {FINGERPRINTS:,}/s" if step == "fingerprint" else "", "peer, quoted")
    line("warm cache", n / warm_s, n / cold_s, "", "cold")
    line(f"warm cache, {N_WARM:,}", many, WARM, f">= {WARM:,}/s", "limit")
    line("seconds with 1 % new", new_s, cold_s, "about .01", "cold")
    line("two workers, wall clock", by_workers(smiles), 1.0, f">= {TWO_WORKERS}", "one worker")
    Console().print(table)


def main() -> None:
    """Measure the first structures of dev_p3's partners, and the golden ones."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else N_STRUCTURES
    tables = sorted((SHARED / "data/dev_p3").glob("P*/T2.csv.gz"))
    if not tables:
        Console().print(f"data_prep.py: skipped, needs {SHARED}/data/dev_p3 (set HOCKET_SHARED)")
        return
    each = -(-most // len(tables))
    report("dev_p3", [text for path in tables for text in pl.read_csv(path)["smiles"].head(each)])
    golden = pl.read_csv(SHARED / "golden/tuner/structures.csv.gz")["smiles"]
    report("golden", golden.gather_every(max(1, 2 * golden.len() // most)).to_list())


if __name__ == "__main__":
    main()
