"""Commands that make maps: build-labels, mask, train, predict, evaluate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from carbonmap import config
from carbonmap.cli.group import main
from carbonmap.cli.options import (
    ProjectCommand,
    dates_option,
    existing,
    json_option,
    mask_option,
    output_option,
    overwrite_option,
    region_option,
    show,
    with_project,
)
from carbonmap.dates import parse_periods
from carbonmap.errors import ConfigError
from carbonmap.io.raster import Source
from carbonmap.masks import Threshold
from carbonmap.project import Project
from carbonmap.stages import evaluate as evaluate_
from carbonmap.stages import labels as labels_
from carbonmap.stages import mask as mask_
from carbonmap.stages import predict as predict_
from carbonmap.stages import scope
from carbonmap.stages import train as train_

PATH = click.Path(path_type=Path)

KINDS = ("ols", "random-forest", "svr", "gradient-boosting")


@main.command("build-labels", cls=ProjectCommand)
@click.argument("inventory", required=False, type=PATH)
@click.option("--volume-field", metavar="FIELD", help="Growing stock, m³/ha.")
@click.option("--id-field", metavar="FIELD", help="The stand's id.")
@click.option("--area-field", metavar="FIELD", help="The inventory's own area, ha; compared.")
@click.option("--species-field", metavar="FIELD", help="Chooses the profile's stratum.")
@click.option("--group-field", "group_fields", multiple=True, metavar="FIELD", help="Totals by it.")
@click.option("--encoding", metavar="NAME", help="Of a Shapefile's text, such as GBK.")
@click.option("--assume-crs", metavar="CRS", help="CRS of an inventory that states none.")
@click.option("--profile", metavar="NAME", help="Carbon profile: stock-expansion, ipcc, your own.")
@click.option("--stratum", metavar="NAME", help="Stratum for stands that no species field assigns.")
@click.option("--monte-carlo", type=int, metavar="N", help="Draws of IPCC Approach 2; 0 for none.")
@click.option("--keep-going", is_flag=True, help="Drop stands that cannot be used; exit code 3.")
@region_option
@mask_option
@output_option("labels", "Folder for the labels.")
@overwrite_option
@json_option
@with_project
def build_labels(
    project: Project,
    inventory: Path | None,
    region: str | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
    keep_going: bool,
    mask: Path | None,
    stratum: str | None,
    profile: str | None,
    monte_carlo: int | None,
    **fields: Any,
) -> None:
    """Turn a forest INVENTORY into carbon-density labels, Mg C/ha."""
    fields["group_fields"] = fields["group_fields"] or None
    source = config.changed(project.inventory, path=inventory, **fields)
    settings = config.changed(project.labels, profile=profile, monte_carlo=monte_carlo)
    project = dataclasses.replace(project, inventory=source, labels=settings)
    name, grid = scope.region_of(project, region)
    report = labels_.build_labels(
        project,
        name,
        grid,
        out,
        mask=mask,
        stratum=stratum,
        keep_going=keep_going,
        existing=existing(overwrite),
    )
    show(report, as_json)


@main.command(cls=ProjectCommand)
@click.option("--method", type=click.Choice(["threshold", "layer"]), required=True)
@click.option("--layer", "layers", multiple=True, type=PATH, help="Class raster (method layer).")
@click.option("--forest-classes", metavar="CODES", default="", help="Its forest codes: 41,42,43.")
@click.option("--dates", metavar="DATES", default="", help="Selects the image (method threshold).")
@click.option("--min-height", type=float, default=5.0, show_default=True, help="Canopy height, m.")
@click.option("--min-ndvi", type=float, default=0.2, show_default=True, help="Greenness.")
@region_option
@output_option("forest.tif", "The mask.")
@overwrite_option
@json_option
@with_project
def mask(
    project: Project,
    method: str,
    layers: Sequence[Path],
    forest_classes: str,
    dates: str,
    min_height: float,
    min_ndvi: float,
    region: str | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Map where forest stands: 255 forest, 0 other land."""
    name, grid = scope.region_of(project, region)
    rule = existing(overwrite)
    if method == "threshold":
        bounds = Threshold(min_height, min_ndvi)
        report = mask_.threshold_mask(
            project.archive, name, parse_periods(dates), bounds, out, existing=rule
        )
    else:
        sources = [Source(path) for path in layers]
        report = mask_.layer_mask(grid, sources, parse_codes(forest_classes), out, existing=rule)
    show(report, as_json)


def parse_codes(text: str) -> list[int]:
    """``41,42,43`` as numbers.

    Raises:
        ConfigError: a part is no whole number.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(
            f"--forest-classes {text!r} are not whole numbers; write 41,42,43"
        ) from None


@main.command(cls=ProjectCommand)
@click.option("--model", "kind", type=click.Choice(KINDS), help="Family of the model.")
@click.option("--inputs", metavar="NAMES", help="image,terrain by default; canopy-height can join.")
@click.option("--labels", type=PATH, default="labels", show_default=True, help="Folder of labels.")
@click.option("--seed", type=int, help="Of everything random.")
@region_option
@dates_option
@mask_option
@output_option("models/model", "Folder of the model.")
@overwrite_option
@json_option
@with_project
def train(
    project: Project,
    kind: str | None,
    inputs: str | None,
    labels: Path,
    seed: int | None,
    region: str | None,
    dates: str,
    mask: Path | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train a model on label pixels, with validation in blocks that it never sees."""
    chosen = None if inputs is None else tuple(i.strip() for i in inputs.split(",") if i.strip())
    model = config.changed(project.model, kind=kind, inputs=chosen, seed=seed)
    project = dataclasses.replace(project, model=model)
    name, grid = scope.region_of(project, region)
    periods, rule = parse_periods(dates), existing(overwrite)
    show(train_.train(project, name, grid, periods, labels, out, mask=mask, existing=rule), as_json)


@main.command(cls=ProjectCommand)
@click.option("--model", type=PATH, required=True, help="Folder of a trained model.")
@region_option
@dates_option
@mask_option
@output_option("maps", "Folder for the maps.")
@overwrite_option
@json_option
@with_project
def predict(
    project: Project,
    model: Path,
    region: str | None,
    dates: str,
    mask: Path | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Map carbon density, Mg C/ha, for every date: REGION_YYYY-MM_carbon_density.tif."""
    name, grid = scope.region_of(project, region)
    periods, rule = parse_periods(dates), existing(overwrite)
    show(
        predict_.predict(project, name, grid, periods, model, out, mask=mask, existing=rule),
        as_json,
    )


@main.command(cls=ProjectCommand)
@click.argument("maps", metavar="MAP", type=PATH)
@click.option("--truth", type=PATH, required=True, help="Folder of labels, or a density raster.")
@click.option("--model", type=PATH, help="Model folder, where it is not where the map says.")
@mask_option
@output_option("evaluation", "Folder for the report and its figure.")
@overwrite_option
@json_option
@with_project
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
    rule = existing(overwrite)
    show(
        evaluate_.evaluate(project, maps, truth, out, model=model, mask=mask, existing=rule),
        as_json,
    )
