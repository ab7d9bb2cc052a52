"""Commands that make labels and masks: build-labels, mask.

Each stage is imported by the command that runs it, since some take a second to load.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from carbonmap import config
from carbonmap.cli.group import main
from carbonmap.cli.options import (
    PATH,
    ProjectCommand,
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
from carbonmap.stages import region as region_

SOURCE_FIELDS = ("layer", "volume_field", "id_field", "area_field", "species_field", "group_fields")

OTHER_METHOD = {
    "threshold": {"layers": "--layer", "forest_classes": "--forest-classes"},
    "layer": {"dates": "--dates", "min_height_m": "--min-height", "min_ndvi": "--min-ndvi"},
}
"""Options that a method of `mask` would ignore, and so refuses."""


def names_of(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """``image,terrain`` as names."""
    return None if text is None else tuple(n.strip() for n in text.split(",") if n.strip())


def given(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """None for an option that may stand many times and stands nowhere."""
    return values or None


@main.command("build-labels", cls=ProjectCommand)
@click.argument("path", metavar="[INVENTORY]", required=False, type=PATH)
@click.option("--volume-field", metavar="FIELD", help="Growing stock, m³/ha.")
@click.option("--layer", metavar="NAME", help="Of a GeoPackage with several.")
@click.option("--id-field", metavar="FIELD", help="The stand's id.")
@click.option("--area-field", metavar="FIELD", help="The inventory's own area, ha; compared.")
@click.option("--species-field", metavar="FIELD", help="Chooses the profile's stratum.")
@click.option(
    "--group-field",
    "group_fields",
    multiple=True,
    callback=given,
    metavar="FIELD",
    help="Totals by it.",
)
@click.option("--encoding", metavar="NAME", help="Of a Shapefile's text, such as GBK.")
@click.option("--assume-crs", metavar="CRS", help="CRS of an inventory that states none.")
@click.option("--year", type=int, metavar="YYYY", help="Of the inventory.")
@click.option("--profile", metavar="NAME", help="Carbon profile: stock-expansion, ipcc, your own.")
@click.option("--stratum", metavar="NAME", help="Stratum for stands that no species field assigns.")
@click.option("--monte-carlo", type=int, metavar="N", help="Draws of IPCC Approach 2; 0 for none.")
@click.option("--keep-going", is_flag=True, help="Drop stands that cannot be used; exit code 3.")
@region_option
@mask_option
@output_option("labels", "Folder for the labels.")
@overwrite_option
@json_option
@with_project(
    inventory=("path", "encoding", "assume_crs", "year", *SOURCE_FIELDS),
    labels=("profile", "monte_carlo"),
)
def build_labels(
    project: Project,
    region: str | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
    keep_going: bool,
    mask: Path | None,
    stratum: str | None,
) -> None:
    """Turn a forest INVENTORY into carbon-density labels, Mg C/ha."""
    from carbonmap.stages import labels as labels_

    name, grid = region_.region_of(project, region)
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
@click.option(
    "--layer",
    "layers",
    multiple=True,
    callback=given,
    type=PATH,
    help="Class raster (method layer).",
)
@click.option("--forest-classes", metavar="CODES", help="Its forest codes: 41,42,43.")
@click.option("--dates", metavar="DATES", help="Selects the image (method threshold).")
@click.option(
    "--min-height",
    "min_height_m",
    type=float,
    show_default=str(Threshold.min_height_m),
    help="Canopy height, m.",
)
@click.option("--min-ndvi", type=float, show_default=str(Threshold.min_ndvi), help="Greenness.")
@region_option
@output_option("forest.tif", "The mask.")
@overwrite_option
@json_option
@with_project()
def mask(
    project: Project,
    method: str,
    region: str | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Map where forest stands: 255 forest, 0 other land."""
    from carbonmap.stages import mask as mask_

    refuse_other_method(method, how)
    name, grid = region_.region_of(project, region)
    rule, threads = existing(overwrite), project.output.threads
    if method == "threshold":
        if not how["dates"]:
            raise ConfigError("no image was named for --method threshold; give --dates, as 2020-11")
        periods = parse_periods(how.pop("dates"))
        bounds = config.changed(Threshold(), **how)
        report = mask_.threshold_mask(
            project.archive, name, periods, bounds, out, existing=rule, threads=threads
        )
    else:
        sources = [Source(path) for path in how["layers"]]
        classes = parse_codes(how["forest_classes"] or "")
        report = mask_.layer_mask(grid, sources, classes, out, existing=rule, threads=threads)
    show(report, as_json)


def refuse_other_method(method: str, how: dict[str, Any]) -> None:
    """Take the other method's options out; refuse one that was given, and a missing ``--layer``."""
    for key, option in OTHER_METHOD[method].items():
        if how.pop(key) is not None:
            raise click.UsageError(f"{option} says nothing to --method {method}; leave it out")
    if method == "layer" and how["layers"] is None:
        raise click.UsageError("--method layer needs the class raster: give --layer FILE")


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
