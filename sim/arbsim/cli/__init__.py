"""The command line: parse, call, print. Human text is for people; ``--json`` is the interface for programs.

One module for each group of commands; ``app`` runs them and turns errors into exit codes.
"""

from __future__ import annotations

from arbsim.cli.app import app, main

# The order of these imports is the order of the commands in the help.
# isort: off
from arbsim.cli import run
from arbsim.cli import live
from arbsim.cli import explain
from arbsim.cli import sweep
from arbsim.cli import explore
from arbsim.cli import replay
from arbsim.cli import shrink
from arbsim.cli import saved
from arbsim.cli import conform
from arbsim.cli import reference
# isort: on

__all__ = [
    "app",
    "conform",
    "explain",
    "explore",
    "live",
    "main",
    "reference",
    "replay",
    "run",
    "saved",
    "shrink",
    "sweep",
]
