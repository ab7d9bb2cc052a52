"""Commands that make maps by a model and judge them: calibrate, predict, evaluate.

Each stage is imported by the command that runs it, since some take a second to load.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from carbonmap.cli.group import main
from carbonmap.cli.options import (
    PATH,
    ProjectCommand,
    dates_option,
    existing,
    json_option,
    mask_option,
    options,
    output_option,
    overwrite_option,
    region_option,
    show,
    with_project,
)
from carbonmap.dates import parse_periods
from carbonmap.errors import ConfigError
from carbonmap.project import Project
from carbonmap.stages import region as region_

DEAF = {"model": "a model draws as its card says; or give --samples and --steps"}
"""Of settings, what is written on a trained model's card."""

drawing_options = options(
    click.option("--model", type=PATH, required=True, help="Folder of a trained model."),
    click.option(
        "--samples",
        type=int,
        metavar="N",
        help="Of a network that draws: draws whose mean is the map; by default the model's own.",
    ),
    click.option(
        "--steps",
        type=int,
        metavar="N",
        help="Of a diffusion's sampler; the model's own by default.",
    ),
    click.option(
        "--device",
        metavar="NAME",
        help="That a network computes on: cpu (default), cuda, cuda:1, or auto.",
    ),
)


@main.command(cls=ProjectCommand)
@drawing_options
@click.option("--change", is_flag=True, help="Find instead how far a map of change errs.")
@click.option(
    "--light-error",
    type=float,
    metavar="SHARE",
    help="With --change: by how much a second image's bands err of themselves; 0.03 by default.",
)
@click.option(
    "--labels", type=PATH, default="labels", show_default=True, help="That the model learned from."
)
@region_option
@dates_option
@mask_option
@overwrite_option
@json_option
@with_project(deaf=DEAF, heeds=["model.split"])
def calibrate(
    project: Project,
    model: Path,
    samples: int | None,
    steps: int | None,
    device: str | None,
    change: bool,
    light_error: float | None,
    labels: Path,
    region: str | None,
    dates: str,
    mask: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Find how wide a model's 90 % interval must be, on stands that it never learned from.

    Kept in the model's folder; `predict` with as many draws and steps then maps both ends. With
    --change, how far a map of change by this model errs, which `change` needs: on simulated change,
    for which some of the held-out land is shown to the model as other held-out land.
    """
    from carbonmap.stages.calibrate import calibrate as interval
    from carbonmap.stages.calibrate_change import calibrate_change

    if light_error is not None and not change:
        raise ConfigError("--light-error is of --change, which was not given")
    name, grid = region_.region_of(project, region)
    stage = partial(calibrate_change, light_error=light_error) if change else interval
    report = stage(
        project,
        name,
        grid,
        parse_periods(dates),
        labels,
        model,
        mask=mask,
        existing=existing(overwrite),
        samples=samples,
        steps=steps,
        device=device,
    )
    show(report, as_json)


@main.command(cls=ProjectCommand)
@drawing_options
@click.option(
    "--workers", type=int, metavar="N", help="Processes of this machine that compute; 1 by default."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Of a dask scheduler whose workers share this disk."
)
@click.option(
    "--dry-run", is_flag=True, help="Print tiles, disk, memory and time, and write nothing."
)
@region_option
@dates_option
@mask_option
@output_option("maps", "Folder for the maps.")
@overwrite_option
@json_option
@with_project(deaf=DEAF)
def predict(
    project: Project,
    model: Path,
    samples: int | None,
    steps: int | None,
    device: str | None,
    workers: int | None,
    scheduler: str | None,
    dry_run: bool,
    region: str | None,
    dates: str,
    mask: Path | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Map carbon density, Mg C/ha, for every date: REGION_YYYY-MM_carbon_density.tif.

    Of several draws, their standard deviation lies beside it, and the ends of the 90 % interval
    once `calibrate` has found it.
    """
    from carbonmap.stages import predict as predict_

    name, grid = region_.region_of(project, region)
    periods, rule = parse_periods(dates), existing(overwrite)
    report = predict_.predict(
        project,
        name,
        grid,
        periods,
        model,
        out,
        mask=mask,
        existing=rule,
        samples=samples,
        steps=steps,
        device=device,
        workers=workers,
        scheduler=scheduler,
        dry_run=dry_run,
    )
    show(report, as_json)


@main.command(cls=ProjectCommand)
@click.argument("maps", metavar="MAP", type=PATH)
@click.option("--truth", type=PATH, required=True, help="Folder of labels, or a density raster.")
@click.option("--model", type=PATH, help="Model folder, where it is not where the map says.")
@mask_option
@output_option("evaluation", "Folder for the report and its figure.")
@overwrite_option
@json_option
@with_project()
def evaluate(
    project: Project,
    maps: Path,
    truth: Path,
    model: Path | None,
    mask: Path | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compare a MAP (or a folder of maps) with labels: held-out blocks first."""
    from carbonmap.stages import evaluate as evaluate_

    rule = existing(overwrite)
    show(
        evaluate_.evaluate(project, maps, truth, out, model=model, mask=mask, existing=rule),
        as_json,
    )
