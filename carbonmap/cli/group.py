"""The command group that every command joins."""

from __future__ import annotations

import io
import signal
import sys

import click

from carbonmap.cli.options import Group, stop


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="carbonmap")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def main(quiet: bool) -> None:
    """Forest-carbon density maps, Mg C/ha, from images, terrain, canopy height and inventories."""
    del quiet  # Group.invoke reads it from the context, before any command runs
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # on Windows often GBK or cp1252, without ² or 会
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, stop)
