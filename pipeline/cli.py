"""The hocket command."""


def main() -> None:
    """Run the command line."""
