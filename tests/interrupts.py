"""Processes that a test starts to interrupt them."""

from __future__ import annotations

import signal


def heeding() -> None:
    """To be called in the child: what runs in the background ignores Ctrl-C, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
