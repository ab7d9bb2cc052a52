"""The command line: parse, call one stage, print its report."""

from carbonmap.cli import chain, distill, inputs, machine, models, scenes
from carbonmap.cli.group import main

__all__ = ["chain", "distill", "inputs", "machine", "main", "models", "scenes"]
