"""The hocket command. Heavy imports happen inside the commands, so that --help answers at once."""

import itertools
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from pipeline.commands import (
    audit,
    completion,
    demo,
    doctor,
    embed,
    engine,
    export,
    extend,
    init,
    inspect,
    key,
    predict,
    prepare,
    report,
    run,
    servers,
    status,
    try_command,
    verify,
)
from pipeline.commands.options import OWN_PROCESS, choose_log, get_log, report_error
from pipeline.errors import ExitCode

_EXIT_CODES = """
Exit codes: 0 done, 1 a bug, 2 usage or configuration, 3 data, 4 security (signature, tag, key, roster),
5 training, 6 not yet (--once: waiting for others).
"""

_SECTIONS: dict[str, tuple[click.Command, ...]] = {  # every command once, under a heading of the help
    "Set up": (
        demo.demo,
        key.key,
        init.init,
        prepare.prepare,
        export.check_matrices,
        doctor.doctor,
        try_command.try_command,
        completion.completion,
    ),
    "Run": (run.partner, run.aggregator, engine.engine, status.status, servers.ui, verify.verify, inspect.inspect),
    "Use the model": (
        report.report,
        audit.audit,
        predict.predict,
        servers.serve,
        extend.extend,
        embed.embed,
        export.export,
    ),
}


# What the extra `partner` installs, by the names of import; an aggregator's installation has none of them.
PARTNERS_LIBRARIES = {
    *("scipy", "rdkit", "polars", "fastexcel", "joblib", "torch", "sklearn", "threadpoolctl", "crepes", "safetensors"),
    *("dp_accounting", "matplotlib", "mlflow"),
}


class Refusing(click.Group):
    """A command group that turns hocket's own errors into one message and an exit code, without a traceback."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **named: Any) -> Any:  # noqa: ANN401 -- click's
        """Run as click does; without arguments it is the command of this process, which ends after it."""
        return super().main(args, *others, **named, obj=OWN_PROCESS if args is None else None)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, after setting up the log for usage errors."""
        choose_log(ctx, args)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        """Write the commands under the headings of _SECTIONS, in the order in which they are used."""
        room = formatter.width - 6 - max(map(len, self.commands))  # as click has it
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(one.name), one.get_short_help_str(room)) for one in commands])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's signature
        """Run the command; typed errors become a message and an exit code, anything else stays a traceback."""
        from pipeline.runtime.exit_codes import REFUSALS, exit_code_of

        try:
            return super().invoke(ctx)
        except REFUSALS as error:
            _end_if_pipe_closed(error)
            _refuse(ctx, error, exit_code_of(error))
        except ModuleNotFoundError as error:
            if error.name not in PARTNERS_LIBRARIES:
                raise
            _refuse_without_partner(ctx, error.name)
        except click.UsageError as error:
            if not get_log(ctx).as_json:
                raise
            get_log(ctx).write(error.format_message(), "error", exit_code=error.exit_code)
            sys.exit(error.exit_code)


def _end_if_pipe_closed(error: Exception) -> None:
    """Exit with code 0 if the reader of the output has closed it, as `head` does."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for output that is still to be flushed
        sys.exit(0)


def _refuse(ctx: click.Context, error: Exception, code: int) -> None:
    report_error(get_log(ctx), str(error), getattr(error, "__notes__", []), int(code))
    sys.exit(int(code))


def _refuse_without_partner(ctx: click.Context, library: str) -> None:
    text = f"{ctx.invoked_subcommand}: found no library {library}, expected hocket to be installed as for a partner"
    code = int(ExitCode.CONFIGURATION)
    report_error(get_log(ctx), text, ["install hocket's wheel with its extra: [partner]"], code)
    sys.exit(code)


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


for command in itertools.chain.from_iterable(_SECTIONS.values()):
    main.add_command(command)


if __name__ == "__main__":
    main()
