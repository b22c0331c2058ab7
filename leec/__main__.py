"""`python -m leec` is the command `leec`."""

from leec.cli import main

main()
