"""The command line: the only part of the compiler that reads files, prints, writes and exits."""


def main() -> None:
    """The console script `leec`."""
    from leec.cli.app import app

    app()
