"""``python -m arbsim``."""

from arbsim.cli import main

main()
