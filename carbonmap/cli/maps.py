"""Commands that make maps by a model, judge and add them up: calibrate to report.

Each stage is imported by the command that runs it, since some take a second to load.
"""

from __future__ import annotations

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
    labels: Path,
    region: str | None,
    dates: str,
    mask: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Find how wide a model's 90 % interval must be, on stands that it never learned from.

    Kept in the model's folder; `predict` with as many draws and steps then maps both ends.
    """
    from carbonmap.stages import calibrate as calibrate_

    name, grid = region_.region_of(project, region)
    report = calibrate_.calibrate(
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


@main.command(cls=ProjectCommand)
@click.argument("map_path", metavar="MAP", type=PATH)
@click.option(
    "--evaluation",
    type=PATH,
    default="evaluation",
    show_default=True,
    help="Folder that `evaluate` wrote of this map, or of another one by the same model.",
)
@click.option(
    "--labels", type=PATH, default="labels", show_default=True, help="That the model learned from."
)
@click.option("--model", type=PATH, help="Model folder, where it is not where the map says.")
@click.option("--areas", type=PATH, help="Outlines, such as counties: .shp, .gpkg or .parquet.")
@click.option("--area-field", metavar="NAME", help="Field of --areas that names them.")
@click.option("--areas-layer", metavar="NAME", help="Of a GeoPackage with several layers.")
@click.option("--areas-encoding", metavar="NAME", help="Of a Shapefile's text, such as GBK.")
@click.option("--areas-crs", metavar="CRS", help="Of a file of areas that states none.")
@click.option(
    "--classes", multiple=True, type=PATH, help="Class raster, such as land cover; repeatable."
)
@output_option("totals", "Folder for totals.csv and totals.json.")
@overwrite_option
@json_option
@with_project()
def totals(
    project: Project,
    map_path: Path,
    evaluation: Path,
    labels: Path,
    model: Path | None,
    areas: Path | None,
    area_field: str | None,
    areas_layer: str | None,
    areas_encoding: str | None,
    areas_crs: str | None,
    classes: tuple[Path, ...],
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Add up the carbon of a MAP, of areas and of classes, with 95 % intervals, in t C and t CO2.

    Each interval says what it consists of: the model's error, the inventory's volumes, and the
    carbon factors that all stands share. Stands kept aside at random by model.split.reference_share
    correct the sums.
    """
    from carbonmap.io.raster import Source
    from carbonmap.stages import totals as totals_

    named = None
    if areas is not None:
        if area_field is None:
            raise ConfigError("--areas needs --area-field, the field that names them")
        named = totals_.Areas(areas, area_field, areas_layer, areas_encoding, areas_crs)
    elif given := [
        name
        for name, value in (
            ("--area-field", area_field),
            ("--areas-layer", areas_layer),
            ("--areas-encoding", areas_encoding),
            ("--areas-crs", areas_crs),
        )
        if value is not None
    ]:
        raise ConfigError(f"{given[0]} is of --areas, which was not given")
    report = totals_.totals(
        project,
        map_path,
        evaluation,
        labels,
        out,
        model=model,
        areas=named,
        classes=[Source(path) for path in classes],
        existing=existing(overwrite),
    )
    show(report, as_json)


@main.command(cls=ProjectCommand)
@click.argument("maps", metavar="MAP", type=PATH)
@click.option("--evaluation", type=PATH, help="Folder that `evaluate` wrote of these maps.")
@click.option(
    "--totals", multiple=True, type=PATH, help="Folder that `totals` wrote of a map; repeatable."
)
@output_option("report", "Folder for report.html.")
@overwrite_option
@json_option
@with_project()
def report(
    project: Project,
    maps: Path,
    evaluation: Path | None,
    totals: tuple[Path, ...],
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Put a MAP (or a folder of maps), totals and errors on one page that opens offline."""
    from carbonmap.stages import report as report_

    rule = existing(overwrite)
    show(
        report_.report(project, maps, out, evaluation=evaluation, totals=totals, existing=rule),
        as_json,
    )
