"""The command that makes a trained model smaller."""

from __future__ import annotations

from pathlib import Path

import click

from carbonmap import config
from carbonmap.cli.group import main
from carbonmap.cli.models import land_options, training_options
from carbonmap.cli.options import (
    PATH,
    ProjectCommand,
    existing,
    json_option,
    output_option,
    overwrite_option,
    show,
    with_project,
)
from carbonmap.dates import parse_periods
from carbonmap.project import Project
from carbonmap.stages import region as region_
from carbonmap.stages.distill.settings import METHODS, PARTS, Distillation

DEFAULT = Distillation()


@main.command(cls=ProjectCommand)
@click.option("--teacher", type=PATH, required=True, help="Folder of the trained model.")
@click.option(
    "--method", type=click.Choice(METHODS), default=DEFAULT.method, show_default=True,
    help="By which channels are found.",
)  # fmt: skip
@click.option(
    "--variance", type=float, default=DEFAULT.variance, show_default=True, metavar="SHARE",
    help="Of each layer's variance that its channels must exceed.",
)  # fmt: skip
@click.option(
    "--part", "parts", type=click.Choice(PARTS), default=DEFAULT.parts, show_default=True,
    help="What becomes smaller.",
)  # fmt: skip
@click.option(
    "--patches", type=int, default=DEFAULT.patches, show_default=True, metavar="N",
    help="By which features are measured.",
)  # fmt: skip
@click.option(
    "--block-steps", type=int, default=DEFAULT.block_steps, show_default=True, metavar="N",
    help="By which each block learns, before the whole is tuned.",
)  # fmt: skip
@training_options
@land_options
@output_option("models/distilled", "Folder of the smaller model.")
@overwrite_option
@json_option
@with_project(trains=True)
def distill(
    project: Project,
    teacher: Path,
    method: str,
    variance: float,
    parts: str,
    patches: int,
    block_steps: int,
    labels: Path,
    device: str,
    region: str | None,
    dates: str,
    mask: Path | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make a smaller network from a trained one, and tell what that costs in error.

    Its channels are those that hold a share of the features' variance; it starts from the teacher's
    weights, learns its features block by block, and is then tuned as a whole. What was stopped goes
    on by the same command; blocks begin anew.
    """
    from carbonmap.stages.distill import run

    name, grid = region_.region_of(project, region)
    settings = config.changed(
        DEFAULT,
        method=method,
        variance=variance,
        parts=parts,
        patches=patches,
        block_steps=block_steps,
    )
    report = run.distill(
        project,
        name,
        grid,
        parse_periods(dates),
        labels,
        out,
        teacher=teacher,
        settings=settings,
        mask=mask,
        existing=existing(overwrite),
        device=device,
    )
    show(report, as_json)
