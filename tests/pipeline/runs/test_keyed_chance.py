"""The chance of a partner's rounds comes from its private keys, unless its configuration says otherwise."""

from pathlib import Path

from tests.support.federation import Federation, step


def seed_of(federation: Federation, name: str) -> tuple[int, ...]:
    """The seed of a partner's round 1, in a process that has just prepared its data."""
    partner = federation.partner(name)
    while partner._own is None:
        step(partner)
    return partner._own.seed(1)


def test_the_seed_of_a_round_is_known_to_its_partner_only(ready: Federation, tmp_path: Path) -> None:
    """With settings that are the same for all, two partners have different seeds; a new start has the same one."""
    federation = ready.moved(tmp_path / "federation")
    assert seed_of(federation, "P01") == seed_of(federation, "P02") == (0, 0, 0)  # these tests want equal trunks
    for name in ("P01", "P02"):
        config = federation.config(name)
        config.write_text(config.read_text().replace("keyed_chance = false\n", ""))
    first, second = (seed_of(federation, name) for name in ("P01", "P02"))
    assert first[:3] == second[:3] == (0, 0, 0)
    assert first[3] != second[3]
    assert min(first[3], second[3]) > 1 << 128
    assert seed_of(federation, "P01") == first
