"""Commands about the machine and whole runs: run, doctor."""

from __future__ import annotations

from pathlib import Path

import click

from carbonmap import config, progress
from carbonmap.cli.group import main
from carbonmap.cli.options import INCOMPLETE, PATH
from carbonmap.io.output import Existing
from carbonmap.stages import doctor


@main.command()
@click.argument("recipe", type=PATH)
def run(recipe: Path) -> None:
    """Run the commands of a pipeline file, in order; finished stages are not run again.

    A step that left something out (exit code 3) does not stop it; it then ends with 3 itself.
    """
    context = click.get_current_context()
    quiet = ["--quiet"] if context.find_root().params["quiet"] else []
    ended = 0
    for words in config.recipe(recipe):
        progress.say("carbonmap " + " ".join(words))
        code = main.main([*quiet, *words], standalone_mode=False, obj=Existing.RENEW) or 0
        if code not in (0, INCOMPLETE):
            context.exit(code)
        ended = ended or code
    context.exit(ended)


@main.command("doctor")
def doctor_command() -> None:
    """Check this machine: libraries, projections, disk, memory, fonts."""
    checks = doctor.diagnose()
    click.echo(doctor.report(checks))
    if any(check.status == "fail" for check in checks):
        click.get_current_context().exit(1)
