"""Write the provenance of a partner's finished model: what it was made of, signed with the partner's own key."""

import json
from pathlib import Path

from data_prep.prepared import Prepared
from partners.training_data.training_set import TrainingSet
from pipeline.audit.provenance import MODEL_FILES, description_digest, file_digest, fingerprints
from pipeline.home.paths import Home
from pipeline.model.description import DESCRIPTION_FILE
from pipeline.plan.plan import Plan
from pipeline.runtime.versions import LIBRARIES, installed, sources_digest
from secure.keys.keys import PrivateKeys
from secure.messages.messages import manifest_digest, parse_manifest
from secure.messages.provenance import PROVENANCE_FILE, Provenance, SummedRound, sign_provenance


def write_provenance(
    folder: Path,
    plan: Plan,
    home: Home,
    prepared: Prepared,
    training_set: TrainingSet,
    *,
    trunk: str,
    keys: PrivateKeys,
) -> None:
    """Sign the provenance of the model in an unfinished folder; the same model and keys give the same bytes.

    trunk : digest of the last trunk
    """
    description = json.loads((folder / DESCRIPTION_FILE).read_bytes())
    inputs = prepared.manifest["inputs"]
    provenance = Provenance(
        partner=keys.name,
        plan=plan.digest,
        trunk=trunk,
        members=fingerprints(plan),
        rounds=tuple(summed_rounds(home)),
        data={
            **{table: str(inputs[table]) for table in ("T0", "T1", "T2")},
            "prepared": str(prepared.manifest["digest"]),
            "trained": training_set.digest(),
        },
        version=installed("hocket") or "",
        sources=sources_digest(),
        libraries={library: number for library in LIBRARIES if (number := installed(library))},
        model=description_digest(description),
        files={name: file_digest(folder / name) for name in MODEL_FILES},
    )
    (folder / PROVENANCE_FILE).write_bytes(sign_provenance(keys, provenance))


def summed_rounds(home: Home) -> list[SummedRound]:
    """The rounds whose sums this home received, in order; of a round that a revision held again, the later sum."""
    rounds: dict[int, SummedRound] = {}
    for of_plan in home.of_every_plan():
        if of_plan.revision > home.revision:
            continue
        for path in sorted(of_plan.inbox("").glob("round-*/attempt-*/sum.*.json")):
            data = path.read_bytes()
            manifest = parse_manifest(data, str(path))
            rounds[manifest.round] = SummedRound(
                plan=manifest.plan,
                round_no=manifest.round,
                attempt=manifest.attempt,
                roster=manifest.text("roster"),
                sum=manifest_digest(data),
                members=tuple(sorted(manifest.named_digests("updates"))),
            )
    return [rounds[number] for number in sorted(rounds)]
