"""Commands as tests give them: in this process, which has imported everything already, or in one of their own."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from arbsim.cli import main

ARBSIM = [sys.executable, "-m", "arbsim"]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process; what it sets for a process of its own is not for this one."""
    out, err, texts = io.StringIO(), io.StringIO(), [str(argument) for argument in arguments]
    with (
        chdir(cwd),
        redirect_stdout(out),
        redirect_stderr(err),
        mock.patch("sys.argv", ["arbsim", *texts]),
        mock.patch("gc.set_threshold"),
    ):
        try:
            main()
        except SystemExit as left:
            code = left.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(texts, code, out.getvalue(), err.getvalue())


def run_apart(*arguments: object, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [*ARBSIM, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, input=stdin)
