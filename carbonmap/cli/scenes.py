"""Commands for satellite scenes: ingest gf1, mosaic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from carbonmap import config
from carbonmap.cli.group import main
from carbonmap.cli.inputs import ingest
from carbonmap.cli.options import (
    PATH,
    ProjectCommand,
    dates_option,
    existing,
    json_option,
    options,
    overwrite_option,
    region_option,
    show,
    with_project,
)
from carbonmap.dates import parse_periods
from carbonmap.errors import ConfigError
from carbonmap.features import BANDS
from carbonmap.io import naming
from carbonmap.project import Project
from carbonmap.stages import region as region_


def _numbers(
    _ctx: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """``0.21,0.18,0.13,0.12`` as four numbers.

    Raises:
        ConfigError: they are more, fewer, or none.
    """
    if text is None:
        return None
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        numbers = ()
    if len(numbers) != len(BANDS):
        found = f"holds {len(numbers)}" if numbers else "is none"
        raise ConfigError(
            f"--{parameter.name}: {text!r} must be four numbers and {found}; write "
            f"{','.join(BANDS)} as in 0.21,0.18,0.13,0.12"
        )
    return numbers


light_options: Callable[[Any], Any] = options(
    click.option(
        "--gain",
        callback=_numbers,
        metavar="B,G,R,N",
        help="Radiance per count, W m-2 sr-1 um-1; the published ones of the year by default.",
    ),
    click.option(
        "--bias",
        callback=_numbers,
        metavar="B,G,R,N",
        help="Radiance at count 0, W m-2 sr-1 um-1; published ones by default.",
    ),
    click.option(
        "--atmosphere",
        type=click.Choice(["dos", "6s", "none"]),
        default="dos",
        show_default=True,
        help="Dark-object subtraction, the table of 6S, or reflectance above the atmosphere.",
    ),
    click.option(
        "--aod", type=float, help="Aerosol optical depth at 550 nm, for 6s; from dark land else."
    ),
    click.option(
        "--terrain",
        type=click.Choice(["auto", "scs+c", "c", "none"]),
        default="auto",
        show_default=True,
        help="Correction of the light of slopes; auto where many exceed 10 degrees.",
    ),
    click.option(
        "--clouds",
        type=click.Choice(["threshold", "omnicloudmask", "none"]),
        default="threshold",
        show_default=True,
        help="How clouds and their shadows are found; omnicloudmask is an extra to install.",
    ),
    click.option(
        "--cloud-weights",
        type=PATH,
        metavar="FOLDER",
        help="OmniCloudMask's weights; it needs them.",
    ),
)

place_options: Callable[[Any], Any] = options(
    click.option(
        "--heights",
        type=click.Choice(naming.DATUMS),
        help="What the archive's DEM is over, where its layer does not say.",
    ),
    click.option(
        "--geoid", type=PATH, help="GeoTIFF of the geoid's height, m, for a DEM over the geoid."
    ),
    click.option(
        "--flat-height",
        "flat_height_m",
        type=float,
        metavar="M",
        help="No DEM: all land at this height over the ellipsoid, m.",
    ),
    click.option(
        "--resampling",
        type=click.Choice(["nearest", "bilinear", "cubic"]),
        default="cubic",
        show_default=True,
        help="Of the bands.",
    ),
    click.option(
        "--reference",
        metavar="FILE|DAY",
        help="GeoTIFF, or image of the archive, against which the place is checked.",
    ),
    click.option(
        "--reference-band", type=int, show_default="1", help="Of a GeoTIFF given as reference."
    ),
    click.option("--align", is_flag=True, help="Move the scene onto the reference."),
)


@ingest.command("gf1", cls=ProjectCommand)
@click.argument("products", nargs=-1, required=True, type=PATH)
@region_option
@light_options
@place_options
@click.option("--keep-going", is_flag=True, help="Skip products that cannot be used; exit code 3.")
@overwrite_option
@json_option
@with_project()
def ingest_gf1(
    project: Project,
    products: Sequence[Path],
    region: str | None,
    keep_going: bool,
    overwrite: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """GF-1 WFV L1A PRODUCTS (folders or .tar.gz) as scenes of surface reflectance.

    A folder of many products stands for all of them. `carbonmap mosaic` composes scenes into the
    images of the dates that models use.
    """
    from carbonmap.stages import gf1

    name, grid = region_.region_of(project, region)
    report = gf1.ingest_gf1(
        project.archive,
        name,
        grid,
        products,
        config.changed(gf1.SceneOptions(), **how),
        existing=existing(overwrite),
        keep_going=keep_going,
        threads=project.output.threads,
    )
    show(report, as_json)


composing_options: Callable[[Any], Any] = options(
    click.option(
        "--harmonise/--no-harmonise",
        default=True,
        show_default=True,
        help="Bring scenes to one radiometry by their overlaps.",
    ),
    click.option(
        "--cloud-shadow",
        is_flag=True,
        help="Take clouds' shadows where nothing else is; gaps by default.",
    ),
    click.option(
        "--view-days-per-deg",
        type=float,
        metavar="DAYS",
        help="What a degree of tilt weighs against days from the middle of the period; 0.6.",
    ),
    click.option(
        "--edge-days",
        type=float,
        metavar="DAYS",
        help="What a scene's edge or a cloud nearby weighs; 8.",
    ),
    click.option("--edge-px", type=int, help="How far that reaches, px; 32."),
)


@main.command(cls=ProjectCommand)
@region_option
@dates_option
@composing_options
@overwrite_option
@json_option
@with_project()
def mosaic(
    project: Project,
    region: str | None,
    dates: str,
    harmonise: bool,
    overwrite: bool,
    as_json: bool,
    **preference: Any,
) -> None:
    """Compose the scenes of each month, day or range into one seamless image.

    Each becomes the image of its middle day, 2020-02 that of 2020-02-15. Beside its bands it holds
    the number of the scene that each pixel is of.
    """
    from carbonmap.stages import mosaic as mosaic_

    name, grid = region_.region_of(project, region)
    how = config.changed(mosaic_.MosaicOptions().preference, **preference)
    report = mosaic_.mosaic(
        project.archive,
        name,
        grid,
        parse_periods(dates),
        config.changed(mosaic_.MosaicOptions(), preference=how, harmonise=harmonise),
        existing=existing(overwrite),
        threads=project.output.threads,
    )
    show(report, as_json)
