"""A new project: one commented file in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from carbonmap import config
from carbonmap import crs as crs_
from carbonmap.errors import ConfigError, OutputExists
from carbonmap.io import files, raster
from carbonmap.io.output import Existing
from carbonmap.regions import Region
from carbonmap.stages import region as region_
from carbonmap.stages.common import Report
from carbonmap.types import Json


def init(
    folder: Path,
    name: str,
    *,
    like: Path | None = None,
    bounds: tuple[float, float, float, float] | None = None,
    bounds_crs: str | None = None,
    boundary: Path | None = None,
    boundary_layer: str | None = None,
    boundary_crs: str | None = None,
    crs: str | None = None,
    pixel_m: float | None = None,
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Write ``carbonmap.toml``.

    Args:
        folder: where.
        name: of the region; a built-in one needs nothing more.
        like: raster whose CRS, pixel, anchor and extent the region takes.
        bounds: left, bottom, right, top of a box, in `bounds_crs`.
        bounds_crs: CRS of the box; the region's own where None.
        boundary: vector file with the outline.
        boundary_layer: of a boundary file that is a GeoPackage with several.
        boundary_crs: CRS of a boundary file that states none.
        crs: projected CRS in metres; that of `like`, or of the built-in region, where None.
        pixel_m: edge of a pixel, m; likewise.
        existing: what to do about a file that says something else. Under ``RENEW`` one that holds a
            region of that name is kept: users edit it, and a pipeline must go on.

    Raises:
        OutputExists: there is one, and it may not be replaced.
        ConfigError: the options leave the region open, or contradict each other.
    """
    path = folder / config.FILE
    extent = {"bounds": bounds, "bounds_crs": bounds_crs, "boundary": boundary}
    file = {"boundary_layer": boundary_layer, "boundary_crs": boundary_crs}
    grid = {"crs": crs, "pixel_m": pixel_m}
    given = {k: v for k, v in (extent | file | grid).items() if v is not None}
    table = {**_base(name, like, any(k in extent for k in given)), **given}
    if isinstance(table.get("crs"), str):
        table["crs"] = crs_.canonical(config.crs_text(table["crs"]))
    region = _region(name, table)
    text = config.template(region)
    facts: Json = {"config": str(path), "region": name}
    if path.exists() and existing is not Existing.OVERWRITE:
        return Report(_kept(path, text, region, existing), facts)
    files.write_text(path, text)
    known = region_.grid_of(region)
    box = (
        "\na box is not a boundary: give the outline as `boundary` for totals"
        if region.is_box
        else ""
    )
    return Report(f"{path}: region {name!r}, {known}{box}", facts)


def _kept(path: Path, text: str, region: Region, existing: Existing) -> str:
    """Why a file that is there may stay.

    Raises:
        OutputExists: it may not.
    """
    if path.read_text(encoding="utf-8", errors="replace") == text:
        return f"{path} is up to date"
    held = config.read_toml(path, config.PROJECT_FILE).get("region", {})
    if existing is not Existing.RENEW or region.name not in held:
        raise OutputExists(f"{str(path)!r} is there already; edit it, or give --overwrite")
    told = f"{path} is kept, since it was edited"
    if config.load(path).region[region.name] != region:
        told += f"; its region {region.name!r} is not the one that this command would write"
    return told


def _base(name: str, like: Path | None, has_extent: bool) -> dict[str, Any]:
    """What the region takes from a raster or from the built-in one of its name."""
    built_in = config.builtin("regions")["region"].get(name, {})
    if like is not None:
        grid = raster.grid_like(like)
        table: dict[str, Any] = {"crs": grid.crs, "pixel_m": grid.pixel_m, "anchor": grid.anchor}
        return table if has_extent else table | {"bounds": grid.bounds}
    if has_extent:
        return {k: v for k, v in built_in.items() if not k.startswith("bound")}
    return dict(built_in)


def _region(name: str, table: dict[str, Any]) -> Region:
    missing = [k for k in ("crs", "pixel_m") if k not in table]
    if missing or not {"bounds", "boundary"} & table.keys():
        known = ", ".join(sorted(config.builtin("regions")["region"]))
        raise ConfigError(
            f"region {name!r} is not built in (built in: {known}) and its place is open; give "
            f"--like "
            f"RASTER, or --crs and --res with --bounds or --boundary"
        )
    return config.region(name, table)
