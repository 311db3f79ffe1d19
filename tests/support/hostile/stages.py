"""A small federation at each stage at which somebody can meet a hostile file; each is built once, for copying only."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.exchange.signs import Sign, sign_name
from pipeline.plan.plan import read_plan
from secure.keys.keys import load_private_keys
from secure.messages.messages import sign_manifest
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting

_OTHERS = ["P02", "P03", "P04"]
_COUNTING = '[catalogue]\ntasks = [{id = "SHARED", threshold = 6.0}]\nmin_partners = 2'


class Stages:
    """The stages by name.

    enrolled : keys, plan, tables and the deal in the custodian's outbox; nobody has run
    dealt    : the custodian has run, and posted deal and pairing
    paired   : P02 waits for the pairing of P03, which is posted
    ready    : four partners are ready for round 1
    called   : the roster is posted, no partner has seen it
    sealed   : all updates are posted
    summed   : the sum is posted, no partner has seen it
    released : all but P01 have released
    later    : all updates of round 2 are posted
    voided   : a void attempt and one without P03 after it
    finished : all members are done; P02 has posted a sign of life, P03 one of trouble
    closing  : the same, but P01 has not noted that it is finished
    predicting : finished, with a file of structures
    counted  : the counting round is done, round 1 begins
    """

    def __init__(self, given: Callable[[str], Federation], folder: Path) -> None:
        """Take what fixtures of all tests have built by `given`; build the others in the folder."""
        self._given, self._folder = given, folder
        self._built: dict[str, Federation] = {}

    def __call__(self, name: str) -> Federation:
        """The stage of this name."""
        if name not in self._built:
            builders: dict[str, Callable[[], Federation]] = {
                "dealt": partial(self._after, "enrolled", "dealt", ["P01"]),
                "paired": partial(self._after, "dealt", "paired", ["P02"], ["P03"]),
                "called": partial(self._after_aggregator, "ready", "called"),
                "summed": partial(self._after_aggregator, "sealed", "summed"),
                "released": partial(self._after, "summed", "released", *([name] for name in _OTHERS)),
                "later": partial(self._given, "sealed_again"),
                "finished": self._finished,
                "closing": self._closing,
                "predicting": self._predicting,
                "counted": self._counted,
            }
            self._built[name] = builders.get(name, partial(self._given, name))()
        return self._built[name]

    def _copy(self, before: str, name: str) -> Federation:
        return self(before).moved(self._folder / name)

    def _after(self, before: str, name: str, *members: list[str]) -> Federation:
        federation = self._copy(before, name)
        for group in members:
            until_waiting(federation, group)
        return federation

    def _after_aggregator(self, before: str, name: str) -> Federation:
        federation = self._copy(before, name)
        step(federation.aggregator())
        return federation

    def _finished(self) -> Federation:
        federation = self._given("finished").moved(self._folder / "finished")
        _post_sign(federation, "P02", Sign(1_750_000_000, 2, 1, "training"))
        _post_sign(federation, "P03", Sign(1_750_000_000, 2, 1, "sealing", 3))
        return federation

    def _closing(self) -> Federation:
        federation = self._copy("finished", "closing")
        federation.home("P01").finished.unlink()
        return federation

    def _predicting(self) -> Federation:
        federation = self._copy("finished", "predicting")
        (federation.folder / "new.smi").write_text("CCO a\nc1ccccc1 b\n")
        return federation

    def _counted(self) -> Federation:
        holders = {"SHARED": ["P01", "P02", "P03"]}
        folder = self._folder / "counted"
        federation = Federation(folder, n_rounds=1, columns="min_partners = 2", extra=_COUNTING, holders=holders)
        machines = federation.members()
        while not all(federation.home(name).catalogue.exists() for name in federation.partners):
            for name in (*federation.partners, AGGREGATOR):
                if name == AGGREGATOR or not federation.home(name).catalogue.exists():
                    step(machines[name])
        return federation


def _post_sign(federation: Federation, name: str, sign: Sign) -> None:
    path = federation.posted(sign_name(sign.kind, name))
    path.parent.mkdir(exist_ok=True)
    keys = load_private_keys(federation.home(name).keys)
    plan = read_plan(federation.plan_file).digest
    path.write_bytes(
        sign_manifest(keys, kind=sign.kind, plan=plan, round_no=0, attempt=0, time=sign.time, body=sign.body())
    )
