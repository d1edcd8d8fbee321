"""A design of the user's own, from a Python file that was named on the command line."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path

from arbsim.worlds.api import Design


class OwnDesignError(Exception):
    """The file, the class or its making is at fault; the text says which and where."""


def load_design(path: str) -> Design:
    """Return an instance of the class in ``path.py:ClassName``, made without arguments.

    Runs the file. Raises OwnDesignError.
    """
    file, _, name = path.rpartition(":")
    spec = importlib.util.spec_from_file_location("arbsim_own_design", file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise OwnDesignError(f"{file}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        found = getattr(module, name, None)
        if not (isinstance(found, type) and issubclass(found, Design)):
            raise OwnDesignError(f"{file} has no class {name} that is an arbsim.worlds.api.Design")
        design: Design = found()
        missing = [word for word in ("name", "family", "agreement", "summary") if not hasattr(design, word)]
        if missing:
            raise OwnDesignError(f"{file}: {name} does not say its {', '.join(missing)}")
    except OwnDesignError:
        raise
    except Exception as error:
        raise OwnDesignError(f"{file}: {told(error)}") from error
    return design


def told(error: BaseException) -> str:
    """An error in a line: its kind, its text, and the last line of code outside of libraries that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parent))
    ours = [frame for frame in frames if not frame.filename.startswith(libraries)] or frames
    place = f" ({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {error}{_advice(error)}{place}"


def _advice(error: BaseException) -> str:
    if isinstance(error, RuntimeError) and "no running event loop" in str(error):
        return ", and asyncio's own is not of this world: use the region's sleep, gather and timeout"
    return ""
