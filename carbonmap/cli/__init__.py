"""The command line: parse, call one stage, print its report."""

from carbonmap.cli import chain, distill, inputs, machine, maps, models, scenes, sums
from carbonmap.cli.group import main

__all__ = ["chain", "distill", "inputs", "machine", "main", "maps", "models", "scenes", "sums"]
