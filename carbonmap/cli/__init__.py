"""The command line: parse, call one stage, print its report."""

from carbonmap.cli import chain, inputs, machine, scenes
from carbonmap.cli.group import main

__all__ = ["chain", "inputs", "machine", "main", "scenes"]
