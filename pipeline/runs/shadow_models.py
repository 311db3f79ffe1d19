"""Train the shadow models of an audit in several processes; each one's scores are a file, so that an audit goes on."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from partners.audit.shadows import Shadow, ShadowTask
from partners.network.trunk import trunk_digest
from pipeline.runtime.progress import ProgressReporter
from secure.sealing.workers import Workers

_VERSION = 1  # of what a shadow is; files of another one are made again


def shadow_models(
    task: ShadowTask, n_shadows: int, folder: Path, workers: int, reporter: ProgressReporter
) -> list[Shadow]:
    """Scores of all shadows, those of the folder first; the folder of other data or settings is removed.

    workers : most processes, each of which trains with the threads of the settings
    """
    mine = folder / _digest(task)[:16]
    for other in folder.glob("*"):
        if other != mine:
            shutil.rmtree(other, ignore_errors=True)
    mine.mkdir(parents=True, exist_ok=True)
    files = [mine / f"shadow-{shadow:03d}.safetensors" for shadow in range(n_shadows)]
    missing = [shadow for shadow, file in enumerate(files) if not file.exists()]
    n = max(1, min(workers // task.training.n_threads, len(missing)))
    n = 1 if task.runs_on_gpu else n
    with reporter.progress("training shadow models") as progress, Workers(_trainer, (task,), n) as pool:
        progress(n_shadows - len(missing), n_shadows)
        for n_done, (shadow, trained) in enumerate(zip(missing, pool.in_order(missing), strict=True), 1):
            trained.write(files[shadow])
            progress(n_shadows - len(missing) + n_done, n_shadows)
    return [Shadow.read(file, task.layout) for file in files]


def _trainer(task: ShadowTask) -> Callable[[int], Shadow]:
    return task.train


def _digest(task: ShadowTask) -> str:
    """Of everything that a shadow's scores depend on."""
    facts = {
        "version": _VERSION,
        "data": task.data.digest(),
        "first_trunk": trunk_digest(task.first_trunk),
        "trunk_settings": task.trunk_settings.of_network(),
        "training": asdict(task.training),
        "n_steps": task.n_steps,
        "rows": hashlib.sha256(np.ascontiguousarray(task.rows, dtype="<i8").data).hexdigest(),  # the pool is the data's
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
