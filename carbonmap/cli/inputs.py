"""Commands that bring data in: init, ingest, simulate."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from carbonmap import config
from carbonmap.cli.group import main
from carbonmap.cli.options import (
    PATH,
    Group,
    ProjectCommand,
    existing,
    json_option,
    options,
    overwrite_option,
    region_option,
    show,
    with_project,
)
from carbonmap.errors import ConfigError
from carbonmap.gf1 import SENSORS
from carbonmap.io import naming
from carbonmap.io.raster import Source
from carbonmap.project import Project
from carbonmap.stages import ingest as ingest_
from carbonmap.stages import region as region_
from carbonmap.stages import setup


@main.command(cls=ProjectCommand)
@click.option("--region", "name", metavar="NAME", required=True, help="Name of the region.")
@click.option("--like", type=PATH, help="Take grid, anchor and extent from this raster.")
@click.option("--bounds", nargs=4, type=float, metavar="LEFT BOTTOM RIGHT TOP", help="A box.")
@click.option("--bounds-crs", metavar="CRS", help="CRS of the box; the region's own by default.")
@click.option("--boundary", type=PATH, help="Vector file with the region's outline.")
@click.option("--boundary-layer", metavar="NAME", help="Of a GeoPackage with several.")
@click.option("--boundary-crs", metavar="CRS", help="CRS of a boundary that states none.")
@click.option("--crs", metavar="CRS", help="Projected CRS in metres, such as EPSG:32648.")
@click.option("-r", "--res", "pixel_m", type=float, help="Edge of a pixel, m.")
@overwrite_option
def init(name: str, overwrite: bool, **how: Any) -> None:
    """Write a commented carbonmap.toml for a new project in this folder."""
    show(setup.init(Path(), name, existing=existing(overwrite), **how))


@main.group(cls=Group)
def ingest() -> None:
    """Bring rasters onto the region's grid, into the archive."""


warp_options = options(
    region_option,
    click.option(
        "--nodata",
        type=float,
        help="Stored value that means nothing, nan too; each file's tag else.",
    ),
    click.option(
        "--resampling",
        type=click.Choice(["nearest", "bilinear", "cubic", "average"]),
        help="Average for finer sources and bilinear for others by default.",
    ),
    click.option("--scale", type=float, default=1.0, show_default=True, help="Multiplies values."),
    click.option("--offset", type=float, default=0.0, show_default=True, help="Added after that."),
    overwrite_option,
    json_option,
)


@ingest.command("image", cls=ProjectCommand)
@click.option("--bands", required=True, metavar="NAME=FILE[:BAND],…", help="Files by band name.")
@click.option("--date", required=True, metavar="YYYY-MM-DD", help="Day of the image.")
@warp_options
@with_project()
def ingest_image(
    project: Project,
    bands: str,
    date: str,
    region: str | None,
    overwrite: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """One date's bands, such as blue=b2.tif,green=b3.tif,red=b4.tif,nir=b5.tif."""
    name, grid = region_.region_of(project, region)
    warping = config.changed(ingest_.Warping(), **how)
    report = ingest_.ingest_image(
        project.archive,
        name,
        grid,
        parse_bands(bands),
        date,
        warping,
        existing=existing(overwrite),
        threads=project.output.threads,
    )
    show(report, as_json)


def _ingest_layer(kind: str, help_text: str, *more: Callable[[Any], Any]) -> None:
    @ingest.command(kind, cls=ProjectCommand, help=help_text)
    @click.argument("files", nargs=-1, required=True, type=PATH)
    @options(*more)
    @warp_options
    @with_project()
    def command(
        project: Project,
        files: Sequence[Path],
        region: str | None,
        overwrite: bool,
        as_json: bool,
        heights: str | None = None,
        **how: Any,
    ) -> None:
        name, grid = region_.region_of(project, region)
        sources = [Source(path) for path in files]
        warping = config.changed(ingest_.Warping(), **how)
        report = ingest_.ingest_layer(
            project.archive,
            name,
            grid,
            kind,
            sources,
            warping,
            heights=heights,
            existing=existing(overwrite),
            threads=project.output.threads,
        )
        show(report, as_json)


_ingest_layer(
    "dem",
    "A digital elevation model in metres; many FILES become one mosaic. In a folder, files are "
    "known by their names, such as AP_24748_FBD_F0520_RT1.dem.tif.",
    click.option(
        "--heights",
        type=click.Choice(naming.DATUMS),
        help="What heights are over; by the names of known products else.",
    ),
)
_ingest_layer(
    "canopy-height",
    "Canopy height in metres; many FILES become one mosaic. In a folder, files are known by their "
    "names, such as ETH_GlobalCanopyHeight_10m_2020_N24E102_Map.tif.",
)


def parse_bands(text: str) -> dict[str, list[Source]]:
    """``blue=a.tif,nir=b.tif:4`` as sources by band name.

    Raises:
        ConfigError: some part is not NAME=FILE, or a name stands twice.
    """
    found: dict[str, list[Source]] = {}
    for part in text.split(","):
        name, equals, path = part.partition("=")
        name, path = name.strip(), path.strip()
        if not (name and equals and path) or name in found:
            raise ConfigError(
                f"--bands: {part!r} is not a new NAME=FILE; write blue=b2.tif,green=b3.tif,…, with "
                f"FILE:2 for the second band of a file"
            )
        numbered = re.fullmatch(r"(.+\.\w+):(\d+)", path)
        found[name] = [
            Source(Path(numbered[1]), int(numbered[2])) if numbered else Source(Path(path))
        ]
    return found


@main.command(cls=ProjectCommand)
@click.argument("folder", type=PATH, required=False, default="county")
@click.option(
    "--size",
    type=click.IntRange(16, 100_000),
    default=1024,
    show_default=True,
    help="Rows and columns, px.",
)
@click.option("--seed", type=int, default=26, show_default=True, help="Which land.")
@click.option(
    "--shift",
    nargs=2,
    type=int,
    default=(0, 0),
    show_default=True,
    metavar="EAST NORTH",
    help="Pixels by which the county lies elsewhere on that land, such as --shift 3000 0.",
)
@click.option(
    "--years-later",
    "years",
    type=click.IntRange(0, 50),
    default=0,
    show_default=True,
    help="The same land, grown so long, with images of that year.",
)
@click.option(
    "--felled",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Of the stands, with --years-later: felled meanwhile.",
)
@click.option(
    "--gf1",
    nargs=2,
    type=click.IntRange(2, 32_768),
    metavar="LINES SAMPLES",
    help="Take its images as GF-1 L1A products of this size too, into FOLDER/gf1.",
)
@click.option(
    "--sensor",
    type=click.Choice(SENSORS),
    default="WFV3",
    show_default=True,
    help="Camera of the products.",
)
@click.option(
    "--gf1-month",
    "months",
    multiple=True,
    metavar="YYYY-MM",
    help="Of the products, with --gf1: 2020-02, 2020-05, 2020-08 or 2020-11; may be repeated. All "
    "four by default.",
)
@click.option(
    "--gf1-archive", "archive", is_flag=True, help="Products as .tar.gz files, with --gf1."
)
@overwrite_option
@json_option
def simulate(
    folder: Path,
    size: int,
    seed: int,
    shift: tuple[int, int],
    years: int,
    felled: float,
    gf1: tuple[int, int] | None,
    overwrite: bool,
    as_json: bool,
    **which: Any,
) -> None:
    """Draw a county whose true carbon is known everywhere, into FOLDER."""
    from carbonmap.landscape import County, county_grid
    from carbonmap.stages import simulate as simulate_
    from carbonmap.stages.simulate_gf1 import Scenes

    if felled and not years:
        raise ConfigError("--felled is of the years since 2020; give --years-later too")
    county = County(seed=seed).later(years, felled)
    given = {"--gf1-month": which["months"], "--gf1-archive": which["archive"]}
    if gf1 is None and (alone := [name for name, value in given.items() if value]):
        raise ConfigError(
            f"{' and '.join(alone)} without --gf1; add --gf1 LINES SAMPLES, such as --gf1 800 800, "
            f"the size of the products in pixels"
        )
    grid = county_grid(size, size, crs=config.crs_text("china-albers"))
    grid = dataclasses.replace(grid, row=grid.row - shift[1], col=grid.col + shift[0])
    scenes = Scenes(*gf1, **which) if gf1 else None
    show(simulate_.simulate(folder, grid, county, scenes, existing=existing(overwrite)), as_json)
