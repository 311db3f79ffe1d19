"""The page of `hocket verify --html`: one file without scripts, to be kept with the papers of a model."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pipeline.audit.provenance import ModelCheck
from pipeline.audit.verify import AuditTrail
from pipeline.audit.verify_view import ATTEMPTS, attempt_rows, conclusion, header, model_lines
from pipeline.plan.plan import Plan
from pipeline.runtime.outputs import writing
from pipeline.runtime.templates import filled
from secure.files import atomic_file
from secure.messages.messages import utc


def verify_page(trail: AuditTrail, plan: Plan, models: Sequence[ModelCheck], now: float) -> str:
    """The page as HTML; now : when the audit began, seconds since 1970."""
    columns, rows = attempt_rows(trail)
    return filled(
        __package__,
        "verify.html",
        title=f"Audit of federation {plan.federation.name}",
        subtitle=f"plan {plan.digest}",
        verdict=conclusion(trail, plan),
        warnings=trail.warnings,
        notes=trail.notes,
        facts=list(header(trail, plan)),
        attempts=ATTEMPTS,
        columns=columns,
        rows=rows,
        models=[list(model_lines(model)) for model in models],
        tables=[list(_rows_of(model)) for model in models],
        written=utc(int(now)),
        generator=f"hocket {version('hocket')}",
    ).rstrip("\n")


def write_verify_page(file: Path, trail: AuditTrail, plan: Plan, models: Sequence[ModelCheck], now: float) -> None:
    """Write the page whole, in place of an earlier one. Raises ConfigError if it cannot be written."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as opened:
            opened.write(verify_page(trail, plan, models, now).encode())


def _rows_of(model: ModelCheck) -> list[tuple[str, str]]:
    """What a model was made of: names and values."""
    made = model.provenance
    return [
        ("partner", made.partner),
        ("plan", made.plan),
        ("trunk", made.trunk),
        *((f"table {name}" if name.startswith("T") else name, value) for name, value in sorted(made.data.items())),
        *((f"file {name}", value) for name, value in sorted(made.files.items())),
        ("model.json, without added assays", made.model),
        ("hocket", f"{made.version}, sources {made.sources}"),
        ("libraries", ", ".join(f"{name} {number}" for name, number in sorted(made.libraries.items()))),
        *((f"round {each.round_no}", f"sum {each.sum} of {', '.join(each.members)}") for each in made.rounds),
    ]
