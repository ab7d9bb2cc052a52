"""``python -m carbonmap``."""

from carbonmap.cli import main

main()
