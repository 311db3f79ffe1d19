"""The README of an exported folder: the exact commands, from certificates to the last round."""

from pipeline.plan.plan import Plan
from pipeline.transport.nvflare.names import AGGREGATOR_FILE, EXECUTOR, OUTCOME, OUTCOME_S, PARTNER_FILE

_TEXT = """\
# {federation} on NVFlare

Written by `hocket engine nvflare export` for the plan with digest

    {digest}

Partners: {partners}. Aggregator: {aggregator}, whose server every site reaches as {host}, port {port}.

NVFlare only carries messages. Keys, masks, tags, rounds, state and restarts are hocket's: every message is signed by
its sender and checked by its reader, and sealed updates go to the aggregator alone, who cannot open them.

## What is here

| file | for |
|---|---|
| `project.yml` | `nvflare provision`: all startup kits at one place |
| `profile.yml`, `participants/` | `nvflare cert` and `nvflare package`: each site makes its own private key |
| `local/NAME/` | the site's local settings, see below |
| `job/` | the job: configuration only |

## 1. At every site and at the server

    pip install 'hocket[nvflare]'

In partner.toml and aggregator.toml, `exchange` is a local folder of that member alone, for example

    exchange = "mirror"

Keys, cards, plan and the dealt secret are made as always (`hocket key`). Only `hocket partner run` and
`hocket aggregator run` are started by NVFlare instead of by you; they write `run.log` beside the configuration.

## 2. Startup kits

Each site makes its own private key, which never leaves it. Whoever runs the certificate authority:

    nvflare cert init --profile profile.yml -o ca

Every participant (NAME is {host}, {names} or {admin}):

    nvflare cert request -p participants/NAME.yml --out NAME

and sends `NAME/NAME.request.zip` to the authority, who compares its digest by telephone and answers with

    nvflare cert approve NAME.request.zip -c ca --profile profile.yml --out NAME.signed.zip

The participant compares the fingerprint of `rootCA.pem` by telephone and makes its kit:

    nvflare package NAME.signed.zip --request-dir NAME --fingerprint SHA256:... -w kits

The kit is then `kits/{project}/prod_00/NAME`.

For a trial on one machine, `nvflare provision -p project.yml -w kits` makes all kits at once. It leaves **every
private key with whoever ran it**: do not use it between companies.

The common name of a site's certificate is the partner's name in the plan. Both sides check it in every job, beside
NVFlare's own checks; a site with another's kit is refused.

## 3. Local settings

Copy the files of `local/NAME/` into the folder `local` of NAME's kit, beside the files with `.default`, which they
replace. `resources.json` allows the one class of hocket that a job may name there ({executor} at a site),
streams no logs, and keeps the server's own files in `{storage}`, which must be writable and on a disk that lasts.
`authorization.json` lets {admin} submit, end and look at jobs, and nobody bring code or open a shell at a site.

## 4. Start

At the server, with the path of its own configuration:

    export {aggregator_variable}=/path/to/aggregator.toml {outcome_variable}={outcome_s}
    kits/{project}/prod_00/{host}/startup/start.sh

The second variable is for a job's end: NVFlare asks a lost site how it ended, and lets no next job begin for 900
seconds otherwise.

At each site:

    {partner_variable}=/path/to/partner.toml kits/{project}/prod_00/NAME/startup/start.sh

The path comes from the site's own environment; a job cannot choose it. NVFlare starts hocket with the `python3` that
is first on the PATH: activate the environment in which hocket is installed before.

## 5. Submit

With the kit of {admin}, from any machine that reaches the server:

    nvflare job submit -j job --startup-kit kits/{project}/prod_00/{admin}

The job begins when {n_partners} sites are there (`min_clients` in `job/meta.json`; with fewer, those that come later
take no part in this job). It ends when the aggregator and all partners that answer are done; `nvflare job list`
shows it.

## When something dies

State is in the members' homes and mirrors, so nothing is lost and nothing is sealed twice.

* A site's machine dies, or its network: NVFlare does not give a running job to a site that comes back. While
  `min_partners` ({min_partners}) are left the others go on without it: the round closes without it or is void by the
  plan's deadlines ({ready_h:g} and {update_h:g} hours), the next ones go on. It catches up in the next job: submit
  again when this one is done, or after `nvflare job abort`. To begin a job while it is still away, lower
  `min_clients` in `job/meta.json`. With fewer than `min_partners` left, a job ends after 15 minutes without news.
* A site's job process alone dies: NVFlare fails the job for all. Submit it again.
* The server dies: start it again and submit the same job again. It goes on at the round where it stopped. In
  NVFlare's list the lost job may stay RUNNING; that entry is harmless.
* A site is refused, or its run fails: the site's log and its `run.log` say why, the server's log only where it is
  about what came over the line. See to it, submit again.
* A disk is full: a message that finds no space is sent again, after pauses of up to a minute.

## Network

One port: {port} at {host}, TCP, gRPC with TLS on both sides. Sites only connect to it, they listen on nothing that
others must reach (NVFlare's own job processes use free ports of 127.0.0.1). Nothing else is contacted: no telemetry,
no downloads; wheels can be carried in, so the whole runs without internet. Set clocks by NTP: certificates have dates.
"""


def readme(plan: Plan, project: str, host: str, port: int, storage: str, admin: str) -> str:
    """The text, for this plan and this server."""
    names = plan.partner_names
    return _TEXT.format(
        federation=plan.federation.name,
        digest=plan.digest,
        partners=", ".join(names),
        names=", ".join(names),
        n_partners=len(names),
        min_partners=plan.rounds.min_partners,
        ready_h=plan.rounds.ready_deadline_s / 3600,
        update_h=plan.rounds.update_deadline_s / 3600,
        aggregator=plan.aggregator_name,
        host=host,
        port=port,
        project=project,
        storage=storage,
        admin=admin,
        executor=f"`{EXECUTOR}`",
        aggregator_variable=AGGREGATOR_FILE,
        partner_variable=PARTNER_FILE,
        outcome_variable=OUTCOME,
        outcome_s=OUTCOME_S,
    )
