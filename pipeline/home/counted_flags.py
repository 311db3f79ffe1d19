"""Check that the flags kept in a partner's home are those that were counted: they are made once, and counted once."""

from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.home.catalogue_counts import read_counted
from pipeline.home.json_files import read_json
from pipeline.home.paths import Home
from pipeline.plan.plan import COUNTING_ROUND, Plan


def must_flag_anew(plan: Plan, home: Home, file: Path, kept_under: str | None) -> bool:
    """Whether this partner has not flagged yet what the plan counts.

    kept_under : digest of the plan that the file's flags are of; None: there is no file
    Raises ConfigError if flags were counted, or sealed under this plan, that the home no longer has.
    """
    counted = read_counted(home)
    if counted is not None and counted.flagged_under is not None:
        expect_counted_flags(home, file, kept_under)
        return False
    if kept_under == plan.digest or (counted is not None and kept_under is not None):
        return False
    if any(home.outbox("").glob(f"round-{COUNTING_ROUND:04d}/*/update.*.json")):
        raise _lost(file, f"found flags of plan {(kept_under or 'none')[:12]}", "those that this plan's update holds")
    return True


def expect_counted_flags(home: Home, file: Path, kept_under: str | None) -> None:
    """Raise ConfigError if the flags in a file are missing, or are of another plan than those that were counted."""
    counted = read_counted(home)
    if counted is None or counted.flagged_under in (None, kept_under):
        return
    found = "is missing" if kept_under is None else f"found flags of plan {kept_under[:12]}"
    raise _lost(file, found, f"those of plan {str(counted.flagged_under)[:12]}, which were counted")


def _lost(file: Path, found: str, expected: str) -> ConfigError:
    error = ConfigError(f"{file}: {found}, expected {expected}")
    error.add_note("restore the whole home: flags that are made again would tell what the tables gained since")
    return error


def flagged_under(plan: Plan, home: Home) -> str | None:
    """Digest of the plan that the kept flags are of; None if none are kept."""
    file = home.rows if plan.catalogue.tasks else home.columns
    return str(read_json(file)["plan"]) if file.exists() else None
