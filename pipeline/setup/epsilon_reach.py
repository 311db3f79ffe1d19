"""Whether a partner of its size can keep the plan's epsilon, and the smallest that it could keep."""

from collections.abc import Iterator

from pipeline.errors import ConfigError, EpsilonOutOfReach
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan
from pipeline.plan.privacy import Privacy
from pipeline.protocol.privacy_budget import reach_of
from pipeline.setup.findings import Finding, refused


def examine_reach(config: PartnerConfig, plan: Plan, privacy: Privacy, n_compounds: int) -> Iterator[Finding]:
    """Check the plan's epsilon with the rounds to come; n_compounds: trained on, canaries included, about."""
    n_trained = n_compounds - config.audit.canaries // 2
    if n_trained < 1:
        return
    home = Home(config.home_folder, plan.folder)
    try:
        reach = reach_of(plan, privacy, home, n_trained, config.training.batch_size)
    except (EpsilonOutOfReach, ConfigError) as error:
        yield refused("privacy", error)
        return
    if reach is not None:
        yield Finding(
            "privacy",
            f"epsilon {privacy.epsilon:g} is in reach of about {n_trained:,} training compounds: noise multiplier "
            f"{reach.noise_multiplier:.3g} in {reach.n_steps:,} steps to come; smallest in reach: {reach.smallest:g}",
        )
