"""The command line tool `training-monitor`."""

from __future__ import annotations

import signal
import sys

from . import _native


def main() -> int:
    """Runs the tool with the arguments of this process."""
    # The tool is one call, during which Python cannot handle signals.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.run_tool(["training-monitor", *sys.argv[1:]])
