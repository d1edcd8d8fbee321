"""What is made or fetched once and kept for the next time, in arbsim's folder of the user's cache.

Everything there can be removed at any time; it is made again.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from arbsim.worlds.live.processes import locked_folder


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
        with locked_folder(".keeping-", str(place.parent)) as aside:
            whole = aside / "whole"
            shutil.copytree(folder, whole, symlinks=True)
            with suppress(FileNotFoundError):
                place.rename(aside / "old")
            whole.rename(place)
