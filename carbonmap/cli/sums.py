"""Commands that say what maps amount to: totals, change, report.

Each stage is imported by the command that runs it, since some take a second to load.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from carbonmap.cli.group import main
from carbonmap.cli.options import (
    PATH,
    ProjectCommand,
    existing,
    json_option,
    options,
    output_option,
    overwrite_option,
    show,
    with_project,
)
from carbonmap.errors import ConfigError
from carbonmap.project import Project

if TYPE_CHECKING:
    from carbonmap.stages.areas import AreaFile

labels_option = click.option(
    "--labels", type=PATH, default="labels", show_default=True, help="That the model learned from."
)

model_option = click.option(
    "--model", type=PATH, help="Model folder, where it is not where the map says."
)

area_options = options(
    click.option("--areas", type=PATH, help="Outlines, such as counties: .shp, .gpkg or .parquet."),
    click.option("--area-field", metavar="NAME", help="Field of --areas that names them."),
    click.option("--areas-layer", metavar="NAME", help="Of a GeoPackage with several layers."),
    click.option("--areas-encoding", metavar="NAME", help="Of a Shapefile's text, such as GBK."),
    click.option("--areas-crs", metavar="CRS", help="Of a file of areas that states none."),
    click.option(
        "--classes", multiple=True, type=PATH, help="Class raster, such as land cover; repeatable."
    ),
)


def _areas(
    path: Path | None,
    field: str | None,
    layer: str | None,
    encoding: str | None,
    crs: str | None,
) -> AreaFile | None:
    """The file of areas that `area_options` name.

    Raises:
        ConfigError: an option of it is missing, or given without it.
    """
    from carbonmap.stages.areas import AreaFile

    if path is not None:
        if field is None:
            raise ConfigError("--areas needs --area-field, the field that names them")
        return AreaFile(path, field, layer, encoding, crs)
    if given := [
        name
        for name, value in (
            ("--area-field", field),
            ("--areas-layer", layer),
            ("--areas-encoding", encoding),
            ("--areas-crs", crs),
        )
        if value is not None
    ]:
        raise ConfigError(f"{given[0]} is of --areas, which was not given")
    return None


@main.command(cls=ProjectCommand)
@click.argument("map_path", metavar="MAP", type=PATH)
@click.option(
    "--evaluation",
    type=PATH,
    default="evaluation",
    show_default=True,
    help="Folder that `evaluate` wrote of this map, or of another one by the same model.",
)
@labels_option
@model_option
@area_options
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

    report = totals_.totals(
        project,
        map_path,
        evaluation,
        labels,
        out,
        model=model,
        areas=_areas(areas, area_field, areas_layer, areas_encoding, areas_crs),
        classes=[Source(path) for path in classes],
        existing=existing(overwrite),
    )
    show(report, as_json)


@main.command(cls=ProjectCommand)
@click.argument("before", type=PATH)
@click.argument("after", type=PATH)
@labels_option
@model_option
@area_options
@output_option("change", "Folder for the maps, change.csv and change.json.")
@overwrite_option
@json_option
@with_project()
def change(
    project: Project,
    before: Path,
    after: Path,
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
    """Map what two maps, BEFORE and AFTER, differ by, where that is significant, and add it up.

    Both are maps by one model, whose errors of change `calibrate --change` has found. Beside the
    change, Mg C/ha, lie its standard deviation and where it is a significant loss (1) or gain (2).
    """
    from carbonmap.io.raster import Source
    from carbonmap.stages import change as change_

    report = change_.change(
        project,
        before,
        after,
        labels,
        out,
        model=model,
        areas=_areas(areas, area_field, areas_layer, areas_encoding, areas_crs),
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
@click.option(
    "--change",
    multiple=True,
    type=PATH,
    help="Folder that `change` wrote of two of the maps; repeatable.",
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
    change: tuple[Path, ...],
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Put a MAP (or a folder of maps), totals, change and errors on one page that opens offline."""
    from carbonmap.stages import report as report_

    page = report_.report(
        project,
        maps,
        out,
        evaluation=evaluation,
        totals=totals,
        change=change,
        existing=existing(overwrite),
    )
    show(page, as_json)
