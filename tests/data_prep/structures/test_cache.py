"""The cache of structures: no second computation, no wrong result, and no failed run."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rdkit
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import CacheWarning
from data_prep.preparation.prepare import prepare
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures import cache as module
from data_prep.structures import steps, structures
from data_prep.structures.cache import keys_of, opened
from data_prep.structures.steps import CRASHED, TIMEOUT, ScaffoldStep, Step, StepResult, StructureStep
from data_prep.structures.structures import fold_scaffolds, standardise_all
from tests.support.data_prep.small_tables import FAST, SEED, STRUCTURES, write_tables
from tests.support.data_prep.trial_steps import Trial, many_results

ROOT = Path(__file__).parents[3]
KEEP = Chemistry(tautomers="keep")
SMILES = [*STRUCTURES, None, "", "C1CC", "CC.[Na+]", "é"]

texts = st.none() | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace").decode())
outcomes = st.builds(StepResult, texts, texts, texts.filter(lambda text: text != CRASHED), st.binary(), st.binary())


def store(path: Path, results: dict[str, StepResult], timeout_s: float = 60.0) -> None:
    with opened(path) as cache:
        cache.store(keys_of(Trial(), list(results)), list(results.values()), timeout_s)


def lookup(path: Path, names: list[str], timeout_s: float = 60.0) -> dict[str, StepResult]:
    with opened(path) as cache:
        keys = keys_of(Trial(), names)
        cached = cache.lookup(keys, timeout_s)
    return {name: cached[key] for name, key in zip(names, keys, strict=True) if key in cached}


def computed(monkeypatch) -> list[str | None]:
    """Record all texts that are computed from now on, since the cache lacks them."""
    log: list[str | None] = []

    def listening(step: Step, given_texts: Sequence[str | None], _timeout_s: float) -> list[StepResult]:
        log.extend(given_texts)
        return [step.make(text) for text in given_texts]

    monkeypatch.setattr(structures, "guarded", listening)
    return log


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.text(max_size=5, alphabet="abc"), outcomes, min_size=1))
def test_what_is_stored_is_found(tmp_path_factory, results):
    """Every stored result is read back unchanged; None and empty texts stay distinct."""
    path = tmp_path_factory.mktemp("cache") / "c"
    store(path, results)
    assert lookup(path, [*results, "unknown"]) == results


def test_a_second_run_computes_nothing_and_new_ones_alone(tmp_path, monkeypatch):
    """Stored structures come from the cache with the same result; only new ones are computed."""
    file = tmp_path / "structures.cache"
    fresh = standardise_all(SMILES, KEEP, Fingerprint(), cache=file)
    scaffolds = fold_scaffolds(fresh.murcko, cache=file)
    log = computed(monkeypatch)
    warm = standardise_all(SMILES[::-1], KEEP, Fingerprint(), cache=file)
    assert fold_scaffolds(warm.murcko, cache=file) == scaffolds
    assert log == []
    assert (warm.smiles, warm.reasons) == (fresh.smiles[::-1], fresh.reasons[::-1])
    assert np.diff(warm.starts).tolist() == np.diff(fresh.starts).tolist()[::-1]
    more = standardise_all([*SMILES, "CCS"], KEEP, Fingerprint(), cache=file)
    assert log == ["CCS"]
    np.testing.assert_array_equal(more.bits[: len(fresh.bits)], fresh.bits)


def test_counts_are_remembered(tmp_path, monkeypatch):
    """A counted fingerprint is read back with its counts."""
    file, counted = tmp_path / "structures.cache", Fingerprint(counts=True)
    fresh = standardise_all(SMILES, KEEP, counted, cache=file)
    assert computed(monkeypatch) == []
    np.testing.assert_array_equal(standardise_all(SMILES, KEEP, counted, cache=file).counts, fresh.counts)


def test_any_other_setting_or_version_is_another_key(monkeypatch):
    """Keys differ by text, step, each setting of chemistry and fingerprint, RDKit and code."""
    ways = [
        StructureStep(Chemistry(), Fingerprint()),
        StructureStep(KEEP, Fingerprint()),
        StructureStep(Chemistry(include_stereo=True), Fingerprint()),
        StructureStep(Chemistry(max_heavy_atoms=99), Fingerprint()),
        StructureStep(Chemistry(), Fingerprint(radius=2)),
        StructureStep(Chemistry(), Fingerprint(counts=True)),
        StructureStep(Chemistry(), Fingerprint(features=True)),
        StructureStep(Chemistry(), Fingerprint(chirality=True)),
        ScaffoldStep(),
    ]
    keys = [key for way in ways for key in keys_of(way, ["C", "CC"])]
    for name, owner in (("__version__", rdkit), ("CODE_VERSION", steps)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, "another")
            keys += [key for way in ways for key in keys_of(way, ["C", "CC"])]
    assert len(set(keys)) == len(keys) == 3 * 2 * len(ways)
    assert {len(key) for key in keys} == {16}


def test_a_timeout_is_tried_again_with_more_time(tmp_path):
    """A stored timeout holds for its limit and shorter ones; a crashed structure is always tried again."""
    store(
        tmp_path / "c",
        {"slow": StepResult(reason=TIMEOUT), "bad": StepResult(reason=CRASHED), "good": StepResult("C")},
        10.0,
    )
    names = ["slow", "bad", "good"]
    assert lookup(tmp_path / "c", names, 10.0) == {"slow": StepResult(reason=TIMEOUT), "good": StepResult("C")}
    assert lookup(tmp_path / "c", names, 5.0) == lookup(tmp_path / "c", names, 10.0)
    assert lookup(tmp_path / "c", names, 11.0) == {"good": StepResult("C")}


def test_damaged_rows_are_not_believed(tmp_path):
    """A row with a changed byte, another row's content, no content or another type is ignored."""
    results, path = many_results(6), tmp_path / "c"
    store(path, results)
    keys = keys_of(Trial(), list(results))
    with sqlite3.connect(path) as file:
        content = dict(file.execute("SELECT * FROM outcomes_1"))
        flipped = bytearray(content[keys[0]])
        flipped[-1] ^= 1
        for key, wrong in zip(keys, [bytes(flipped), content[keys[2]], None, "text", b""], strict=False):
            file.execute("UPDATE outcomes_1 SET content = ? WHERE key = ?", (wrong, key))
    file.close()
    assert lookup(path, list(results)) == {"text 5": results["text 5"]}


def test_changed_bytes_anywhere_never_give_another_answer(tmp_path):
    """With random damage in the file, every result that is found is as it was stored."""
    results = many_results()
    store(tmp_path / "whole", results)
    whole = (tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(4)
    for trial in range(30):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), size=rng.integers(1, 200)):
            damaged[position] = rng.integers(256)
        path = tmp_path / f"{trial}"
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheWarning)
            cached = lookup(path, list(results))
        assert cached.items() <= results.items()


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.7, 0.999])
def test_truncated_files_never_give_another_answer(tmp_path, share):
    """A file truncated anywhere gives no wrong result, and stores results again afterwards."""
    results, path = many_results(), tmp_path / "c"
    store(path, results)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        assert lookup(path, list(results)).items() <= results.items()
        store(path, results)
    assert lookup(path, list(results)) == results


def test_no_database_is_set_aside(tmp_path):
    """Another file under the cache's name is renamed, with one warning, and a new cache is started."""
    path = tmp_path / "c"
    path.write_bytes(b"no database " * 1000)
    with pytest.warns(CacheWarning, match="renamed to c.damaged") as caught:
        store(path, many_results())
    assert len(caught) == 1
    assert (tmp_path / "c.damaged").read_bytes() == b"no database " * 1000
    assert lookup(path, ["text 1"]) == {"text 1": many_results()["text 1"]}


def test_a_full_disk_costs_a_warning(tmp_path):
    """If the file cannot grow, stored results are still read, with one warning."""
    path = tmp_path / "c"
    store(path, {"old": StepResult("C")})
    new = {f"new {name}": result for name, result in many_results().items()}
    with opened(path) as cache:
        cache._file.execute("PRAGMA max_page_count = 3")
        with pytest.warns(CacheWarning, match=r"\bc: .*\bfull\b"):
            cache.store(keys_of(Trial(), list(new)), list(new.values()), 60.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cache.store(keys_of(Trial(), ["newer"]), [StepResult("N")], 60.0)
        assert cache.lookup(keys_of(Trial(), ["old"]), 60.0)


def test_a_locked_file_costs_a_warning(tmp_path, monkeypatch):
    """A file that another process has locked is not written, with one warning after a short wait."""
    monkeypatch.setattr(module, "_LOCKED_S", 0.05)
    path = tmp_path / "c"
    store(path, {"old": StepResult("C")})
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.warns(CacheWarning, match="locked") as caught:
        store(path, {"new": StepResult("N")})
    assert len(caught) == 1
    assert lookup(path, ["old", "new"]) == {"old": StepResult("C")}
    other.close()


def test_a_file_that_may_not_be_written_is_read(tmp_path, monkeypatch):
    """A read-only file causes one warning; its results are found, none are added."""
    path = tmp_path / "c"
    store(path, {"old": StepResult("C")})

    def refuse(*_args: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module.os, "open", refuse)
    with pytest.warns(CacheWarning, match=os.strerror(errno.EACCES)) as caught:
        store(path, {"new": StepResult("N")})
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        assert lookup(path, ["old", "new"]) == {"old": StepResult("C")}


def test_a_folder_in_its_place_costs_a_warning(tmp_path):
    """A run succeeds if the cache cannot be opened at all."""
    with pytest.warns(CacheWarning):
        structures = standardise_all(["CCO"], KEEP, Fingerprint(), cache=tmp_path)
    assert structures.smiles == ["CCO"]


def test_only_the_owner_may_read_it(tmp_path):
    """The file, which holds structures, has mode 0600."""
    path = tmp_path / "c"
    path.touch(0o644)
    with opened(path) as cache:
        cache.store(keys_of(Trial(), ["a"]), [StepResult("A")], 60.0)
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_kill_keeps_what_was_stored(tmp_path):
    """After kill -9 while writing, all results stored before are found unchanged."""
    command = textwrap.dedent("""
        import sys, itertools, pathlib
        from data_prep.structures.cache import keys_of, opened
        from tests.support.data_prep.trial_steps import Trial, many_results
        with opened(pathlib.Path(sys.argv[1])) as cache:
            for turn in itertools.count():
                cache.store(keys_of(Trial(str(turn)), list(many_results())), list(many_results().values()), 60.0)
                print(turn, flush=True)
    """)
    path = tmp_path / "c"
    with subprocess.Popen(
        [sys.executable, "-c", command, str(path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        turns = [int(writer.stdout.readline()) for _ in range(5)]
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
    results = many_results()
    with opened(path) as cache:
        for turn in turns:
            keys = keys_of(Trial(str(turn)), list(results))
            assert cache.lookup(keys, 60.0) == dict(zip(keys, results.values(), strict=True))


def test_prepared_bytes_do_not_depend_on_the_cache(tables, tmp_path):
    """No cache or an empty, half-full or full one, with one worker or two, give the same prepared files."""
    counted = replace(FAST, fingerprint=Fingerprint(n_bits=1024, counts=True))
    half = write_tables(tmp_path / "half", t2=[f"X{i},{smiles}\n" for i, smiles in enumerate(STRUCTURES[::2])])
    cache = tmp_path / "structures.cache"
    prepare(*half, counted, SEED, tmp_path / "0", cache=cache)  # without descriptors: they are added later
    results = [
        prepare(*tables, counted, SEED, tmp_path / "1", descriptors=True),
        prepare(*tables, counted, SEED, tmp_path / "2", cache=tmp_path / "empty.cache", workers=2, descriptors=True),
        prepare(*tables, counted, SEED, tmp_path / "3", cache=cache, workers=2, descriptors=True),
        prepare(*tables, counted, SEED, tmp_path / "4", cache=cache, descriptors=True),
    ]
    first, *others = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in results]
    assert all(other == first for other in others)


def test_a_longer_limit_is_another_folder(tmp_path, monkeypatch):
    """A prepared folder with a timeout is reused for the same limit; a longer limit tries its structures again."""
    tables, cache = write_tables(tmp_path / "t"), tmp_path / "structures.cache"
    monkeypatch.setattr(
        structures, "guarded", lambda _step, given_texts, _s: [StepResult(reason=TIMEOUT)] * len(given_texts)
    )
    folder = prepare(*tables, FAST, SEED, tmp_path / "p", cache=cache, timeout_s=1.0)
    before = (folder / "summary.json").read_bytes()
    assert b"timeout" in before
    monkeypatch.undo()
    assert prepare(*tables, FAST, SEED, tmp_path / "p", cache=cache, timeout_s=1.0) == folder
    assert (folder / "summary.json").read_bytes() == before
    longer = prepare(*tables, FAST, SEED, tmp_path / "p", cache=cache, timeout_s=2.0)
    assert longer != folder
    assert b"timeout" not in (longer / "summary.json").read_bytes()
