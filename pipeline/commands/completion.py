"""`hocket completion`: print the shell script that completes hocket's commands."""

import click

from pipeline.commands.options import examples


@click.command(
    short_help="Print a script that completes commands in a shell.",
    epilog=examples(
        "hocket completion bash > ~/.local/share/bash-completion/completions/hocket",
        "hocket completion zsh > ~/.zfunc/_hocket  # a folder in fpath",
        "hocket completion fish > ~/.config/fish/completions/hocket.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete hocket's commands, options and files."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click has no completion for {shell}")
    click.echo(kind(click.get_current_context().find_root().command, {}, "hocket", "_HOCKET_COMPLETE").source())
