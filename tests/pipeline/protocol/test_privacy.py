"""A federation with differential privacy: noise by the budget, refusals, revisions, and what is shown."""

import dataclasses
import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.errors import ThresholdsFromData
from partners.files.round_checkpoint import RoundStart
from partners.privacy.accounting import epsilon_of
from partners.privacy.steps import NoisedSteps
from partners.training.partner_data import PartnerData
from pipeline.errors import ConfigError, EpsilonOutOfReach, ExitCode, PrivacyLost
from pipeline.home.paths import Home
from pipeline.home.privacy_ledger import PrivacyLedger
from pipeline.home.round_files import TRAINED_FILE
from pipeline.home.round_metrics import read_records
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.protocol import partner_rounds
from pipeline.protocol.privacy_budget import PrivacyBudget, check_continuity, reach_of
from pipeline.report.conclusion import privacy_sentence
from pipeline.report.report import read_report
from pipeline.report.schema import PrivacyFacts
from pipeline.report.shareable_schema import read_shared
from pipeline.runs.preparation import expect_fixed_thresholds, expect_usable_tables
from pipeline.runtime.exit_codes import exit_code_of
from pipeline.setup.checked_tables import checked_tables
from secure.errors import BadKeyFile
from secure.files import write_atomically, write_secret
from secure.messages.message_name import MessageName
from tests.support.cli_runner import hocket, refused
from tests.support.federation import AGGREGATOR, Federation, run_rounds, until_waiting
from tests.support.partners.synthetic import TRAINING, small_set
from tests.support.running_members import Running

EPSILON, DELTA = 2.0, 1e-4
Draw = Callable[[int], bytes]
PRIVATE = f'[seal]\nweights = "equal"\n[privacy]\nepsilon = {EPSILON}\ndelta = {DELTA}\n'


def federation_with(folder: Path, extra: str = PRIVATE, **options: int) -> Federation:
    """A small federation whose partners' chance is keyed."""
    federation = Federation(folder, extra=extra, **options)
    for name in federation.partners:
        config = federation.config(name)
        config.write_text(config.read_text().replace("keyed_chance = false\n", ""))
    return federation


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Two rounds with noise. For reading only."""
    federation = federation_with(tmp_path_factory.mktemp("private") / "federation")
    run_rounds(federation)
    return federation


@pytest.fixture
def plan(enrolled: Federation) -> Plan:
    """Twenty rounds of four steps, with [privacy]."""
    text = enrolled.plan_file.read_text().replace("n_rounds = 2", "n_rounds = 20")
    file = enrolled.folder / "private-plan.toml"
    file.write_text(text.replace("[[card]]", PRIVATE + "[[card]]", 1))
    return read_plan(file)


def changed(plan: Plan, **changes: object) -> Plan:
    """The plan with other settings of [privacy]."""
    return plan.model_copy(update={"privacy": plan.privacy.model_copy(update=changes)})


def own_data(batch_size: int = 10) -> PartnerData:
    """A partner of 67 training compounds."""
    return PartnerData(small_set(), dataclasses.replace(TRAINING, batch_size=batch_size), "digest")


def budget_of(plan: Plan, folder: Path, batch_size: int = 10, draw: Draw = secrets.token_bytes) -> PrivacyBudget:
    """The budget of that partner."""
    budget = PrivacyBudget.of(plan, Home(folder, plan.folder), own_data(batch_size), draw)
    assert budget is not None
    return budget


# --------------------------------------------------------------------------------------------------------- the budget


def test_all_rounds_stay_within_epsilon(plan: Plan, tmp_path: Path):
    """The noise is the same in all rounds, also after a restart; in the end epsilon is nearly spent, not more."""
    budget = budget_of(plan, tmp_path)
    budget.begin()
    assert budget.spent() == 0
    settings = [budget.noise(round_no) for round_no in range(1, 11)]
    again = budget_of(plan, tmp_path)
    again.begin()
    settings += [again.noise(round_no) for round_no in range(10, 21)]  # round 10 once more, as after a crash
    assert len({noise.noise_multiplier for noise in settings}) == 1
    assert settings[0].sampling_share == 10 / small_set().training_rows.size
    assert 0.97 * EPSILON < again.spent() <= EPSILON
    assert sum(some.n_steps for some in PrivacyLedger(Home(tmp_path).privacy).all_steps()) == 80


def test_noise_is_fresh_and_only_a_training_that_is_repeated_has_it_again(plan: Plan, tmp_path: Path):
    """The key is of fresh chance, in a file of mode 0600 until the training is stored; of one round and one plan."""
    (tmp_path / "copy").mkdir()
    budgets = [budget_of(plan, folder) for folder in (tmp_path, tmp_path, tmp_path / "copy")]
    for budget in budgets:
        budget.begin()
    first, repeated, elsewhere = (budget.noise(1).key for budget in budgets)
    assert first == repeated != elsewhere
    assert "key" not in repr(budgets[0].noise(1))
    secret = Home(tmp_path).noise_secret(1)
    assert secret.stat().st_mode & 0o777 == 0o600
    budgets[0].forget_noise(1)
    budgets[0].forget_noise(1)
    assert not secret.exists()
    assert budgets[0].noise(1).key != first


def test_equal_chance_gives_other_noise_in_another_round_and_under_another_plan(plan: Plan, tmp_path: Path):
    """Plan and round are in the key: a chance that repeats gives no two trainings the same noise."""
    keys = []
    for name, under in (("a", plan), ("again", plan), ("b", changed(plan, delta=2 * DELTA))):
        (tmp_path / name).mkdir()
        budget = budget_of(under, tmp_path / name, draw=bytes)
        budget.begin()
        keys += [budget.noise(1).key, budget.noise(2).key]
    assert keys[:2] == keys[2:4]
    assert len(set(keys)) == 4


def test_a_damaged_secret_is_refused(plan: Plan, tmp_path: Path):
    """Too short, or readable by others: no noise is drawn from it."""
    budget = budget_of(plan, tmp_path)
    budget.begin()
    secret = Home(tmp_path).noise_secret(1)
    write_secret(secret, b"short")
    with pytest.raises(BadKeyFile, match=r"noise\.secret: 5 bytes"):
        budget.noise(1)
    secret.write_bytes(bytes(32))
    secret.chmod(0o644)
    with pytest.raises(BadKeyFile, match="0644"):
        budget.noise(1)


def test_a_training_that_is_repeated_with_other_compounds_counts_twice(plan: Plan, tmp_path: Path):
    """What was in the ledger stays there, the dearer with the cheaper; repeated alike it counts once."""
    budget, other = budget_of(plan, tmp_path, batch_size=20), budget_of(plan, tmp_path)
    budget.begin()
    noise = budget.noise(1).noise_multiplier
    before = other.spent()
    assert budget_of(plan, tmp_path, batch_size=20).noise(1).noise_multiplier == noise
    assert other.spent() == before
    other.noise(1)
    assert other.spent() > before
    first, second = PrivacyLedger(Home(tmp_path).privacy).all_steps()
    assert first.sampling_share == 2 * second.sampling_share


def test_a_round_without_this_partner_costs_nothing(plan: Plan, tmp_path: Path):
    """What was trained for a roster that lacked the partner is forgotten."""
    budget = budget_of(plan, tmp_path)
    budget.begin()
    budget.noise(1)
    before = budget.spent()
    budget.noise(2)
    assert budget.spent() > before
    budget.drop(2)
    budget.drop(2)
    assert budget.spent() == before


def test_other_compounds_change_the_noise_and_not_the_bound(plan: Plan, tmp_path: Path):
    """If the tables changed in between, the rest is spent on the rounds to come."""
    first = budget_of(plan, tmp_path)
    first.begin()
    before, *_ = [first.noise(round_no) for round_no in range(1, 11)]
    second = budget_of(plan, tmp_path, batch_size=20)
    second.begin()
    after, *_ = [second.noise(round_no) for round_no in range(11, 21)]
    assert after.sampling_share == 2 * before.sampling_share
    assert after.noise_multiplier > before.noise_multiplier
    assert 0.97 * EPSILON < second.spent() <= EPSILON


def test_out_of_reach_names_the_smallest_epsilon_in_reach(plan: Plan, tmp_path: Path):
    """Before anything is trained; with the epsilon that it names the partner begins, with a smaller one it does not."""
    narrow = changed(plan, epsilon=0.05, most_noise=3.0)
    with pytest.raises(EpsilonOutOfReach, match=r"privacy\.epsilon: found 0\.05\b") as caught:
        budget_of(narrow, tmp_path).begin()
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    smallest = float(re.search(r"at least ([\d.]+)", str(caught.value))[1])
    budget_of(changed(narrow, epsilon=smallest), tmp_path).begin()
    with pytest.raises(EpsilonOutOfReach):
        budget_of(changed(narrow, epsilon=0.99 * smallest), tmp_path / "other").begin()


def test_what_is_in_reach_is_what_a_run_finds_and_nothing_is_written(plan: Plan, tmp_path: Path):
    """For the same number of compounds, before the first round and after ten."""
    n_compounds = small_set().training_rows.size
    home, privacy = Home(tmp_path, plan.folder), plan.privacy
    before = reach_of(plan, privacy, home, n_compounds, 10)
    assert list(tmp_path.iterdir()) == []
    budget = budget_of(plan, tmp_path)
    budget.begin()
    assert before.noise_multiplier == budget.noise(1).noise_multiplier
    assert (before.n_steps, before.smallest < EPSILON) == (80, True)
    for round_no in range(2, 11):
        budget.noise(round_no)
    write_atomically(home.start_file(11), b"")
    later = reach_of(plan, privacy, home, n_compounds, 10)
    assert later.noise_multiplier == pytest.approx(before.noise_multiplier, rel=0.01)
    assert (later.n_steps, later.smallest > before.smallest) == (40, True)
    write_atomically(home.start_file(21), b"")
    assert reach_of(plan, privacy, home, n_compounds, 10) is None


def test_a_noise_multiplier_in_the_plan_is_taken_if_it_keeps_epsilon(plan: Plan, tmp_path: Path):
    """All partners then have the same noise, and each its own epsilon below the plan's."""
    budget = budget_of(changed(plan, noise_multiplier=5.0), tmp_path)
    budget.begin()
    assert budget.noise(1).noise_multiplier == 5.0
    with pytest.raises(EpsilonOutOfReach, match=r"noise_multiplier 0\.5"):
        budget_of(changed(plan, noise_multiplier=0.5), tmp_path / "other").begin()


def test_a_delta_that_gives_compounds_away_is_refused(plan: Plan, tmp_path: Path):
    """Delta must be below one by the number of compounds."""
    with pytest.raises(EpsilonOutOfReach, match=r"privacy\.delta"):
        budget_of(changed(plan, delta=0.02), tmp_path).begin()


def test_rounds_under_a_revision_come_on_top(plan: Plan, tmp_path: Path):
    """A round that is held again under a revision counts twice; the noise grows accordingly."""
    first = budget_of(plan, tmp_path)
    first.begin()
    noise, *_ = [first.noise(round_no).noise_multiplier for round_no in (1, 2, 3)]
    continues = {"plan": plan.digest, "revision": 2, "round": 3}
    table = plan.model_dump(mode="json") | {"continues": continues}
    revised = Plan.model_validate_json(json.dumps(table))
    home = Home(tmp_path, revised.folder)
    write_atomically(home.start_file(3), b"")
    second = budget_of(revised, tmp_path)
    second.begin()
    later = [second.noise(round_no).noise_multiplier for round_no in range(3, 21)]
    assert len(set(later)) == 1
    assert later[0] > noise
    assert 0.97 * EPSILON < second.spent() <= EPSILON
    assert len(PrivacyLedger(home.privacy).read()) == 21


def test_a_home_is_private_from_the_first_round_to_the_last_or_never(plan: Plan, enrolled: Federation, tmp_path: Path):
    """A revision can neither add [privacy] nor drop it; a lost ledger is noticed."""
    home, plain = Home(tmp_path), read_plan(enrolled.plan_file)
    check_continuity(plan, home)
    check_continuity(plain, home)
    home.start_file(2).parent.mkdir(parents=True)
    home.start_file(2).touch()
    check_continuity(plain, home)
    with pytest.raises(PrivacyLost):
        check_continuity(plan, home)
    PrivacyLedger(home.privacy).begin()
    check_continuity(plan, home)
    with pytest.raises(PrivacyLost):
        check_continuity(plain, home)


def released(home: Home, name: MessageName) -> None:
    """As if this partner had released for a roster."""
    write_atomically(home.outbox(name.manifest), b"{}")


def test_a_ledger_that_lacks_a_round_of_its_home_is_refused(plan: Plan, tmp_path: Path):
    """Emptied, or restored from before the last training or release, under whichever revision; the whole one passes."""
    home, revised = Home(tmp_path), Home(tmp_path, "revision-02")
    ledger = PrivacyLedger(home.privacy)
    ledger.begin()
    write_atomically(home.training(1) / TRAINED_FILE, b"x")
    released(home, MessageName("release", 1, 2, "P01"))
    released(home, MessageName("update", 2, 1, "P01"))
    released(revised, MessageName("release", 3, 1, "P01"))
    for place in ((1, 1), (2, 3)):
        with pytest.raises(PrivacyLost, match=f"lacks round {place[1]} of revision {place[0]}"):
            check_continuity(plan, home)
        ledger.add(place, NoisedSteps(4, 0.1, 1.0))
    check_continuity(plan, home)
    home.privacy.unlink()
    with pytest.raises(PrivacyLost, match="is missing"):
        check_continuity(plan, home)


# ------------------------------------------------------------------------------------------------------- a federation


def test_a_private_federation_ends_alike_and_says_its_epsilon(private: Federation):
    """All partners have one trunk; each record has an epsilon that grows and stays below the plan's."""
    assert len(private.trunks(2)) == 1
    for name in private.partners:
        home = private.home(name)
        epsilons = [record.metrics["epsilon"] for record in read_records(home.metrics) if record.step]
        assert 0 < epsilons[0] < epsilons[1] <= EPSILON
        steps = PrivacyLedger(home.privacy).read()
        assert list(steps) == [(1, 1), (1, 2)]
        assert not list(home.folder.rglob("noise.secret"))
        check_continuity(read_plan(private.plan_file), home)
        assert epsilons[1] == pytest.approx(epsilon_of(PrivacyLedger(home.privacy).all_steps(), DELTA), abs=1e-3)


def test_every_weight_of_the_trunk_is_noised(private: Federation):
    """No weight of the shared vector is as it was drawn: also bits that no compound sets have noise."""
    plan = read_plan(private.plan_file)
    last = private.partner("P01").home.start_file(3)
    vector = RoundStart.read(last, plan.layout, to_predict=True).vector
    assert (vector != plan.first_vector(plan.layout)).mean() > 0.99


@pytest.mark.slow
def test_commands_keep_and_say_the_bound(tmp_path: Path):
    """Runs, one killed in its first round; log, report, summary and audit have epsilon and delta."""
    federation = federation_with(tmp_path / "federation")
    config, home = federation.config("P01"), federation.home("P01")
    ledger = PrivacyLedger(home.privacy)
    with Running(federation) as running:
        running.start(*federation.partners, AGGREGATOR)
        running.wait_for(lambda: ledger.exists and bool(ledger.read()))
        running.kill("P01")
        running.start("P01")
        running.finish()
        assert re.search(r"epsilon 2 at delta 0\.0001 over all rounds\b.*noise multiplier", running.log("P01"))
    assert list(ledger.read()) == [(1, 1), (1, 2)]
    facts = read_report(home).privacy
    assert (facts.epsilon, facts.delta) == (EPSILON, DELTA)
    assert 0 < facts.spent <= EPSILON
    shared = read_shared(home.report / "summary.json").privacy
    assert shared.to_json() == {"epsilon": EPSILON, "delta": DELTA}
    assert "epsilon 2 at delta 0.0001" in " ".join(hocket("report", config).stdout.split())
    assert json.loads(hocket("audit", config, "--quick", "--json").stdout)["allowed_epsilon"] == EPSILON


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("keyed_chance = false", "keyed_chance"),
        ('precision = "bfloat16"', "precision"),
        ("regression_weight = 0.5", "normalise_regression"),
    ],
)
def test_settings_that_break_the_bound_are_refused(enrolled: Federation, tmp_path: Path, setting: str, named: str):
    """Chance that others can repeat, norms that are not exact, means that tell: exit code 2, before enrolment."""
    federation = enrolled.moved(tmp_path / "federation")
    plan = federation.plan_file.read_text()
    federation.plan_file.write_text(plan.replace("[[card]]", PRIVATE + "[[card]]", 1))
    config = federation.config("P02")
    config.write_text(config.read_text().replace("keyed_chance = false", setting))
    with pytest.raises(ConfigError, match=rf"\[training\].*\[privacy\]: {named}: "):
        federation.partner("P02")


def test_a_killed_training_is_repeated_with_its_noise_and_a_new_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In two copies of a federation, same keys, plan and data: equal bits if noise was drawn before, else others."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    federation = federation_with(tmp_path / "federation")
    with monkeypatch.context() as patch:
        patch.setattr(partner_rounds, "train_locally", killed)
        with pytest.raises(KeyboardInterrupt):
            until_waiting(federation, federation.partners)
    has_secret = {name: federation.home(name).noise_secret(1).exists() for name in federation.partners}
    assert sorted(has_secret.values()) == [False, False, True]
    copies = [federation, federation.moved(tmp_path / "copy")]
    for copy in copies:
        until_waiting(copy, copy.partners)
    for name, was_drawn in has_secret.items():
        homes = [copy.home(name) for copy in copies]
        first, second = ((home.training(1) / TRAINED_FILE).read_bytes() for home in homes)
        assert (first == second) == was_drawn
        assert not any(home.noise_secret(1).exists() for home in homes)
        assert [list(PrivacyLedger(home.privacy).read()) for home in homes] == [[(1, 1)], [(1, 1)]]


def test_thresholds_that_follow_from_the_values_are_refused(enrolled: Federation, tmp_path: Path):
    """An assay without expert thresholds: exit code 3 before and after enrolment, in --check too; binary ones pass."""
    federation = enrolled.moved(tmp_path / "federation")
    plain, text = read_plan(federation.plan_file), federation.plan_file.read_text()
    federation.plan_file.write_text(text.replace("[[card]]", PRIVATE + "[[card]]", 1))
    file = federation.config("P02")
    file.write_text(file.read_text().replace("keyed_chance = false\n", ""))
    config, private, t0 = PartnerConfig.read(file), read_plan(federation.plan_file), file.parent / "T0.csv"
    expect_fixed_thresholds(config, private)
    assert not checked_tables(config, private).tables.stops
    rows = t0.read_text()
    t0.write_text(rows.replace("6.0", "", 1))
    expect_fixed_thresholds(config, plain)
    for refuses in (lambda: expect_usable_tables(config, private), federation.partner("P02").advance):
        with pytest.raises(ThresholdsFromData, match=r"T0\.csv: 1 of 2 assays") as caught:
            refuses()
        assert exit_code_of(caught.value) == ExitCode.DATA
        assert "expert_threshold_1" in caught.value.__notes__[0]
    findings = checked_tables(config, private).tables.findings
    assert [finding.stops for finding in findings if "1 of 2 assays" in finding.text] == [True]
    t0.write_text(rows.replace("true,false,6.0", "true,true,", 1))
    expect_fixed_thresholds(config, private)


def test_a_spent_epsilon_is_shown_rounded_up():
    """12.346 is not shown as 12.3; the sentence names what is not covered, and without [privacy] there is none."""
    sentence = privacy_sentence(PrivacyFacts(epsilon=16.0, delta=DELTA, spent=12.346))
    assert "12.346" in sentence
    assert all(word in sentence for word in ("tasks", "thresholds", "copies of a compound", "counts", "scores"))
    assert not privacy_sentence(None)


def test_a_run_that_cannot_keep_epsilon_ends_before_it_trains(tmp_path: Path):
    """Exit code 2 through the command, the smallest epsilon in reach is named, and nobody is ready."""
    federation = federation_with(tmp_path / "federation", PRIVATE.replace(f"epsilon = {EPSILON}", "epsilon = 0.01"))
    with pytest.raises(EpsilonOutOfReach):
        until_waiting(federation, federation.partners)
    message = refused(ExitCode.CONFIGURATION, "partner", "run", federation.config("P01"), "--once")
    assert re.search(r"privacy\.epsilon: found 0\.01\b.*\bat least \d", " ".join(message.split()))
    assert not federation.posted(MessageName("ready", 1, 1, "P01")).exists()
    assert not list(federation.home("P01").training(1).glob("*"))
