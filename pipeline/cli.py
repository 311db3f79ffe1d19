"""The hocket command. Heavy imports happen inside the commands, so that --help answers at once."""

import sys
from typing import Any

import click

from pipeline.commands import data, keys, look, models, predict, runs

_EXIT_CODES = """
Exit codes: 0 done, 1 a bug, 2 usage or configuration, 3 data, 4 security (signature, tag, key, roster),
5 training, 6 not yet (--once: waiting for others).
"""


class Refusing(click.Group):
    """A group whose commands end with one clear message and the exit code of design, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's signature
        """Run the command; typed errors become a message and an exit code, anything else stays a traceback."""
        from data_prep.errors import DataError
        from partners.errors import BadData, TrainingError
        from pipeline.errors import ExitCode, PipelineError
        from secure.errors import SecureError

        try:
            return super().invoke(ctx)
        except PipelineError as error:
            _refuse(error, error.exit_code)
        except (DataError, BadData) as error:
            _refuse(error, ExitCode.DATA)
        except SecureError as error:
            _refuse(error, ExitCode.SECURITY)
        except TrainingError as error:
            _refuse(error, ExitCode.TRAINING)
        except OSError as error:  # a disk that fills, a folder that may not be written
            _refuse(error, ExitCode.CONFIGURATION)


def _refuse(error: Exception, code: int) -> None:
    click.echo(f"hocket: {error}", err=True)
    for note in getattr(error, "__notes__", []):
        click.echo(f"  {note}", err=True)
    sys.exit(int(code))


@click.group(cls=Refusing, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hocket")
def main() -> None:
    """Federated drug discovery: shared trunk, private heads, sealed aggregation."""


for command in (
    runs.demo,
    keys.key,
    data.prepare,
    data.check_matrices,
    runs.partner,
    runs.aggregator,
    models.report,
    predict.predict,
    models.export,
    look.inspect,
    look.verify,
    look.ui,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
