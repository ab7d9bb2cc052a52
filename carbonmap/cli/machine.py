"""Commands about the machine, whole runs and what they left: run, doctor, info, verify."""

from __future__ import annotations

from pathlib import Path

import click

from carbonmap import config, progress
from carbonmap.cli.group import main
from carbonmap.cli.options import INCOMPLETE, PATH, json_option, show
from carbonmap.io.output import Existing
from carbonmap.stages import check, doctor


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


@main.command()
@click.argument("path", type=PATH, default=".")
@json_option
def info(path: Path, as_json: bool) -> None:
    """Say what of PATH, a folder or a map, is complete, by marks and sizes."""
    show(check.check(path, thorough=False), as_json)


@main.command()
@click.argument("path", type=PATH, default=".")
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Read all that was written at PATH, a folder or a map, and compare it with its hashes.

    Exit code 1 where anything is damaged, unfinished or without its mark.
    """
    report = check.check(path, thorough=True)
    show(report, as_json)
    if not report.data["whole"]:
        click.get_current_context().exit(1)
