"""Public data for the demo: the 30 ChEMBL tables of MoleculeACE, divided among partners.

Source: the wheel MoleculeACE 3.0.0 (MIT; van Tilborg et al., J. Chem. Inf. Model. 2022, 62, 5938), a zip with tables of
`smiles` and `exp_mean [nM]`, one per target and endpoint. pXC50 = 9 - log10(nM).
"""

import csv
import hashlib
import io
import json
import math
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from rdkit import Chem, rdBase

from data_prep.atomic import atomic_folder
from data_prep.errors import BenchmarkError
from data_prep.structures.standardise import murcko_scaffold

_TABLES = "MoleculeACE/Data/benchmark_data/"
_COLUMNS = ("smiles", "exp_mean [nM]")
_SIZE_RATIO = 0.55  # each partner is about this much smaller than the one before
_SHARED = 0.075  # share of the compounds that a second partner holds too
_NOT_ASSAYED = 0.1  # chance that a partner has never run a given assay
_MIN_PARTNERS = 3
_SPLIT_FILE, _TRUTH_FILE = "split.json", "truth.csv"
_HEADERS = {
    "T0.csv": (
        "input_assay_id,assay_type,use_in_regression,is_binary,expert_threshold_1,expert_threshold_2,"
        "expert_threshold_3,expert_threshold_4,expert_threshold_5,direction,catalog_assay_id,parent_assay_id"
    ),
    "T1.csv": "input_assay_id,input_compound_id,standard_qualifier,standard_value",
    "T2.csv": "input_compound_id,smiles",
}
_ASSAY_FIELDS = "OTHER,true,false,6,7,8,,,high,,"


@dataclass(frozen=True, slots=True)
class _Compound:
    smiles: str
    scaffold: str | None
    values: tuple[tuple[str, float], ...]  # (assay name such as CHEMBL234_Ki, pXC50)


def split_benchmark(wheel: Path, n_partners: int, share: float, seed: int, folder: Path) -> list[Path]:
    """Write `folder`/P01, P02, ... with T0.csv, T1.csv and T2.csv each, and return these folders.

    A random `share` (0 to 1) of the compounds is divided by Murcko scaffold among partners of sizes 1 : .55 : .3 ...;
    7.5 % of them also go to a second partner. Ids mean nothing outside a partner. `folder`/truth.csv lists the target
    of each assay and is used by no partner. A folder that already holds this split is left unchanged.
    The bytes depend on the arguments only.

    Raises BenchmarkError for a file that is not the wheel, is damaged, or a folder that holds another split.
    """
    _require_in_range(n_partners, share)
    partners = [folder / f"P{i:02d}" for i in range(1, n_partners + 1)]
    split = {"wheel": _digest(wheel), "n_partners": n_partners, "share": share, "seed": seed, "version": 1}
    description = json.dumps(split, sort_keys=True, indent=1) + "\n"
    if folder.exists() and any(folder.iterdir()):
        _require_same(folder, description)
        return partners
    rng = np.random.default_rng(seed)
    held = _divide(_sample(_read(wheel), share, rng), n_partners, rng)
    with atomic_folder(folder) as unfinished:
        truth = ["partner,input_assay_id,target,endpoint"]
        for partner, compounds in zip(partners, held, strict=True):
            truth += _write_partner(unfinished / partner.name, compounds, rng)
        _write_lines(unfinished / _TRUTH_FILE, truth)
        (unfinished / _SPLIT_FILE).write_text(description, encoding="utf-8")
    return partners


def _require_in_range(n_partners: int, share: float) -> None:
    if not _MIN_PARTNERS <= n_partners <= 99:  # noqa: PLR2004 - two digits in the names
        raise ValueError(f"n_partners: found {n_partners}, expected {_MIN_PARTNERS} to 99")
    if not 0 < share <= 1:
        raise ValueError(f"share: found {share}, expected more than 0 and at most 1")


def _require_same(folder: Path, description: str) -> None:
    split_file = folder / _SPLIT_FILE
    if not split_file.is_file() or split_file.read_text(encoding="utf-8") != description:
        error = BenchmarkError(
            f"{folder}: found other content, expected an empty folder or the same split of the benchmark"
        )
        error.add_note("choose another folder, or delete this one")
        raise error


def _digest(wheel: Path) -> str:
    try:
        with wheel.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise BenchmarkError(f"{wheel.name}: cannot be read: {cause.strerror}") from cause


def _read(wheel: Path) -> dict[str, dict[str, list[float]]]:
    """Return smiles -> assay name -> pXC50 values."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = sorted(n for n in archive.namelist() if n.startswith(_TABLES) and n.endswith(".csv"))
            for name in names:
                for smiles, pxc50 in _read_table(archive, name):
                    values[smiles][PurePosixPath(name).stem].append(pxc50)
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as cause:
        error = BenchmarkError(
            f"{wheel.name}: incomplete or damaged zip file ({cause}), expected the wheel MoleculeACE 3.0.0"
        )
        error.add_note("download it again: pip download --no-deps MoleculeACE==3.0.0")
        raise error from cause
    if not values:
        raise BenchmarkError(f"{wheel.name}: found no tables in {_TABLES}, expected the wheel MoleculeACE 3.0.0")
    return values


def _read_table(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[str, float]]:
    with archive.open(name) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            try:
                smiles, nanomolar = (row[column] for column in _COLUMNS)
                yield smiles, round(9 - math.log10(float(nanomolar)), 2)
            except (KeyError, TypeError, ValueError) as cause:
                columns = ", ".join(str(column) for column in row)
                raise BenchmarkError(
                    f"{name}: expected columns {', '.join(_COLUMNS)} with SMILES and positive numbers; found {columns}"
                ) from cause


def _sample(values: dict[str, dict[str, list[float]]], share: float, rng: np.random.Generator) -> list[_Compound]:
    """Return a random share of the compounds; SMILES of the same structure, stereo included, are one compound."""
    all_smiles = sorted(values)
    drawn = sorted(rng.permutation(len(all_smiles))[: max(1, round(share * len(all_smiles)))].tolist())
    merged: dict[str, dict[str, list[float]]] = {}
    scaffolds: dict[str, str | None] = {}
    with rdBase.BlockLogs():
        for smiles in (all_smiles[i] for i in drawn):
            mol: Chem.Mol | None = Chem.MolFromSmiles(smiles)
            if mol is None:
                continue  # left out of the demonstration
            key = Chem.MolToSmiles(mol)
            Chem.RemoveStereochemistry(mol)
            scaffolds[key] = murcko_scaffold(mol)
            compound_values = merged.setdefault(key, defaultdict(list))
            for assay, measured in values[smiles].items():
                compound_values[assay] += measured
    return [_Compound(key, scaffolds[key], _flat(merged[key])) for key in sorted(merged)]


def _flat(values: dict[str, list[float]]) -> tuple[tuple[str, float], ...]:
    return tuple((assay, value) for assay in sorted(values) for value in values[assay])


def _divide(compounds: list[_Compound], n_partners: int, rng: np.random.Generator) -> list[list[_Compound]]:
    """Give a scaffold's compounds to the partner furthest below its share; some go to a second partner too."""
    by_scaffold: dict[str, list[_Compound]] = defaultdict(list)
    for compound in compounds:
        by_scaffold[str(compound.scaffold)].append(compound)
    sizes = _SIZE_RATIO ** np.arange(n_partners)
    wanted = len(compounds) * sizes / sizes.sum()
    by_partner: list[list[_Compound]] = [[] for _ in range(n_partners)]
    names = sorted(by_scaffold)
    for i in rng.permutation(len(names)).tolist():
        behind = wanted - [len(h) for h in by_partner]
        by_partner[int(np.argmax(behind))] += by_scaffold[names[i]]
    owned = [(partner, compound) for partner, mine in enumerate(by_partner) for compound in mine]
    for i in rng.permutation(len(owned))[: round(_SHARED * len(owned))].tolist():
        owner, compound = owned[i]
        by_partner[(owner + int(rng.integers(1, n_partners))) % n_partners].append(compound)
    return by_partner


def _write_partner(folder: Path, compounds: list[_Compound], rng: np.random.Generator) -> list[str]:
    """Write one partner's tables; return its lines of truth.csv: the target of each assay."""
    known_assays = sorted({assay for compound in compounds for assay, _ in compound.values})
    run_assays = [
        assay
        for assay, chance in zip(known_assays, rng.random(len(known_assays)), strict=True)
        if chance >= _NOT_ASSAYED
    ]
    assays = _ids(f"{folder.name}-A", "04d", run_assays or known_assays, rng)
    measured = [c for c in compounds if any(assay in assays for assay, _ in c.values)]
    compound_ids = _ids(f"{folder.name}-C", "06d", [c.smiles for c in measured], rng)
    t1 = [f"{assays[a]},{compound_ids[c.smiles]},=,{value}" for c in measured for a, value in c.values if a in assays]
    folder.mkdir()
    tables = {
        "T0.csv": [f"{assay_id},{_ASSAY_FIELDS}" for assay_id in assays.values()],
        "T1.csv": t1,
        "T2.csv": [f"{name},{smiles}" for smiles, name in compound_ids.items()],
    }
    for file, lines in tables.items():
        _write_lines(folder / file, [_HEADERS[file], *sorted(lines)])
    return [f"{folder.name},{assay_id},{','.join(assay.split('_', 1))}" for assay, assay_id in assays.items()]


def _ids(prefix: str, digits: str, names: list[str], rng: np.random.Generator) -> dict[str, str]:
    numbers = rng.permutation(len(names)) + 1
    return {name: f"{prefix}{number:{digits}}" for name, number in zip(names, numbers.tolist(), strict=True)}


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
