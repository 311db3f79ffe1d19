"""The hocket command. Heavy imports happen inside the commands, so that --help answers at once."""

import os
import sys
from typing import Any

import click

from pipeline.commands import engine as engines
from pipeline.commands import init as setup
from pipeline.commands import inspect as look
from pipeline.commands import key as keys
from pipeline.commands import predict
from pipeline.commands import prepare as data
from pipeline.commands import report as models
from pipeline.commands import run as runs
from pipeline.commands.options import choose_log, complain, log_of

_EXIT_CODES = """
Exit codes: 0 done, 1 a bug, 2 usage or configuration, 3 data, 4 security (signature, tag, key, roster),
5 training, 6 not yet (--once: waiting for others).
"""


class Refusing(click.Group):
    """A group whose commands end with one clear message and the exit code of design, not a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, once it is known how a refusal is to be said."""
        choose_log(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's signature
        """Run the command; typed errors become a message and an exit code, anything else stays a traceback."""
        from data_prep.errors import DataError
        from partners.errors import BadData, TrainingError
        from pipeline.errors import ExitCode, PipelineError
        from secure.errors import SecureError

        try:
            return super().invoke(ctx)
        except PipelineError as error:
            _refuse(ctx, error, error.exit_code)
        except (DataError, BadData) as error:
            _refuse(ctx, error, ExitCode.DATA)
        except SecureError as error:
            _refuse(ctx, error, ExitCode.SECURITY)
        except TrainingError as error:
            _refuse(ctx, error, ExitCode.TRAINING)
        except OSError as error:  # a disk that fills, a folder that may not be written
            _end_where_nobody_reads(error)
            _refuse(ctx, error, ExitCode.CONFIGURATION)
        except click.UsageError as error:
            if not log_of(ctx).as_json:
                raise
            log_of(ctx).write(error.format_message(), "error", exit_code=error.exit_code)
            sys.exit(error.exit_code)


def _end_where_nobody_reads(error: OSError) -> None:
    """Whoever read the output has enough, as `head` has: a normal end."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed
        sys.exit(0)


def _refuse(ctx: click.Context, error: Exception, code: int) -> None:
    complain(log_of(ctx), str(error), getattr(error, "__notes__", []), int(code))
    sys.exit(int(code))


def _show_versions(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from pipeline.runtime.versions import version_lines

        click.echo("\n".join(version_lines()))
        ctx.exit()


@click.group(cls=Refusing, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_versions,
    help="Show the versions of hocket, Python and the libraries that matter.",
)
def main() -> None:
    """Federated drug discovery: shared trunk, private heads, sealed aggregation."""


for command in (
    runs.demo,
    setup.init,
    setup.doctor,
    keys.key,
    data.prepare,
    data.check_matrices,
    runs.partner,
    runs.aggregator,
    engines.engine,
    models.report,
    predict.predict,
    models.export,
    look.inspect,
    look.verify,
    look.status,
    look.ui,
    setup.completion,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
