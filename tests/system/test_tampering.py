"""One flipped byte in any file of the exchange: the reader refuses it by name, and nothing else changes."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ExitCode, PipelineError
from pipeline.exchange.storage import Exchange
from pipeline.runtime.retry import Machine
from secure.errors import SecureError
from tests.support.federation import AGGREGATOR, Federation, step


class Tamperer:
    """Flips one byte of every file the first time a member reads it, and puts it back afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        self.reader = ""
        self.refused: set[tuple[str, str]] = set()  # (reader, path)
        self.latest: Path | None = None
        self._rng = random.Random(seed)
        read, fetch = Exchange.read, Exchange.fetch
        monkeypatch.setattr(Exchange, "read", lambda ex, path: self._with_flip(ex, path, lambda: read(ex, path)))
        monkeypatch.setattr(
            Exchange, "fetch", lambda ex, path, *to: self._with_flip(ex, path, lambda: fetch(ex, path, *to))
        )

    def _with_flip(self, exchange: Exchange, path: str, call: Callable[[], object]) -> object:
        file = Path(exchange.where(path))
        if (self.reader, path) in self.refused or not file.exists():
            return call()
        self.refused.add((self.reader, path))
        self.latest = file
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[self._rng.randrange(len(whole))] ^= 1 << self._rng.randrange(8)
        file.write_bytes(damaged)
        try:
            return call()
        finally:
            file.write_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_file_of_the_exchange_is_refused_with_a_flipped_byte(
    seed: int, finished: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each member refuses each of its files once, damaged, by name; the result is that of an undisturbed run."""
    federation = Federation(tmp_path / "f")
    tamperer = Tamperer(monkeypatch, seed)
    machines = federation.members()
    done: set[str] = set()
    while len(done) < len(machines):
        for name, machine in machines.items():
            tamperer.reader, tamperer.latest = name, None
            if _step_or_refusal(machine, tamperer) == "done":
                done.add(name)
    read = {path for _, path in tamperer.refused}
    assert read == {str(path.relative_to(federation.exchange)) for path in federation.exchange.rglob("*.*")}
    assert federation.trunks(2) == finished.trunks(2)


def _step_or_refusal(machine: Machine, tamperer: Tamperer) -> str:
    """One step; where it met a damaged file, it must have been refused as a matter of security, by name."""
    try:
        state = step(machine)
    except (SecureError, PipelineError) as error:
        refusal = error
    else:
        assert tamperer.latest is None, f"{tamperer.reader} accepted {tamperer.latest} with a flipped byte"
        return state
    assert getattr(refusal, "exit_code", ExitCode.SECURITY) == ExitCode.SECURITY
    assert str(tamperer.latest) in str(refusal)
    return "refused"


@pytest.mark.slow
def test_the_command_ends_with_exit_code_4_and_names_the_file(tmp_path: Path) -> None:
    """A real aggregator process meets a damaged ready message: exit code 4, the file's name, no traceback."""
    federation = Federation(tmp_path / "f")
    for _ in range(2):
        for name in federation.partners:
            partner = federation.partner(name)
            while step(partner) == "on":
                pass
    file = federation.exchange / "round-0001/attempt-01/ready.P02.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"attempt":1', b'"attempt":3'))
    refused = federation.hocket("aggregator", "run", "--once", str(federation.config(AGGREGATOR)))
    assert refused.returncode == ExitCode.SECURITY
    assert str(file) in refused.stderr
    assert "Traceback" not in refused.stderr
    file.write_bytes(whole)
    again = federation.hocket("aggregator", "run", "--once", str(federation.config(AGGREGATOR)))
    assert again.returncode == ExitCode.NOT_YET
    assert (federation.exchange / "round-0001/attempt-01/roster.agg.json").exists()
