"""What is kept for the next time: whole or not at all, and nothing that a kill left half-made."""

from __future__ import annotations

from pathlib import Path

from arbsim.worlds.live.cache import keep_copy


def test_a_copy_takes_the_place_of_what_was_there_and_of_what_a_kill_left(tmp_path: Path) -> None:
    made, place = tmp_path / "made", tmp_path / "cache" / "kept"
    made.mkdir()
    (made / "new").touch()
    (place / "old").mkdir(parents=True)
    half_made = place.parent / ".keeping-by-somebody-killed"
    half_made.mkdir()
    (half_made / "lock").touch()
    keep_copy(made, place)
    assert [path.name for path in place.iterdir()] == ["new"]
    assert list(place.parent.iterdir()) == [place]
