"""Findings of the doctor, all and by topic, and edits of the files that it reads."""

from pathlib import Path

from pipeline.plan.member_configs import read_member_config, role_in
from pipeline.setup.doctor import examine
from pipeline.setup.findings import Finding


def findings(config: Path) -> list[Finding]:
    """All findings of the doctor."""
    return list(examine(read_member_config(config, role_in(config))))


def wrong_ones(config: Path) -> list[Finding]:
    """The findings at which a run would fail."""
    return [finding for finding in findings(config) if finding.level == "wrong"]


def the(found: list[Finding], text: str) -> Finding:
    """The only finding with this text."""
    matching = [finding for finding in found if text in finding.text]
    assert len(matching) == 1, found
    return matching[0]


def about(config: Path, topic: str) -> list[Finding]:
    """The findings about one topic."""
    return [finding for finding in findings(config) if finding.about == topic]


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))
