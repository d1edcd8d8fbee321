"""What is made or fetched once and kept for the next time, in arbsim's folder of the user's cache.

Everything there can be removed at any time; it is made again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


def cached(name: str) -> Path:
    """Where something is kept, or will be. Whoever keeps something that depends on versions has them in its name."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "arbsim" / name


def keep_copy(folder: Path, place: Path) -> None:
    """Copy a folder to its place in the cache, where it appears whole or not at all, instead of what was there.

    Nothing is kept where there is no room or no permission: it is only there to save time.
    """
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".keeping-") as aside:
            whole = Path(aside) / "whole"
            shutil.copytree(folder, whole, symlinks=True)
            with suppress(FileNotFoundError):
                place.rename(Path(aside) / "old")
            whole.rename(place)
