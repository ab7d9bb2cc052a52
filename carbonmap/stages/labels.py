"""Labels: an inventory and canopy height to carbon stock by stand and carbon density by pixel."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from carbonmap import config, labels, progress
from carbonmap.allometry import Profile
from carbonmap.coverage import Coverage, polygon_coverage
from carbonmap.errors import ConfigError, nearest
from carbonmap.grid import Grid
from carbonmap.io import figures, files, maps, output, vector
from carbonmap.io.cog import Layer
from carbonmap.io.maps import DENSITY_UNITS, MapFile
from carbonmap.io.output import Existing
from carbonmap.io.stands import Fields, Inventory, read_inventory
from carbonmap.labels import StandSums, stand_sums
from carbonmap.lazy import open_stack
from carbonmap.project import Project
from carbonmap.stages import common, label_report, label_text, scope
from carbonmap.stages import region as region_
from carbonmap.stages.common import TILE_PX, Layers, Report
from carbonmap.stages.label_report import Stock
from carbonmap.stages.mask import check_mask, read_forest
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Floats, Json

MARK = "labels.json"
"""The file that declares a folder of labels whole."""

STANDS = "stands.parquet"

OF_TOTALS = ("volume_uncertainty_percent", "monte_carlo")
"""Settings that the summary depends on; `min_coverage` is of training."""

TOTAL = "carbon_density"
"""The map of all pools together."""

COVERAGE = Layer(
    "coverage", "share of the pixel inside stands of known stock; above 1 where they overlap", "1"
)

STAND = Layer(
    "stand",
    "1 + row in stands.parquet of the stand that covers most of the pixel",
    "1",
    "uint32",
    0,
    "MODE",
)

SOURCE = Layer(
    "height_source",
    "weight from: 1 the pixel's canopy height, 2 its stand's mean, 3 none, spread evenly",
    "1",
    "uint8",
    0,
    "MODE",
)


@dataclass(frozen=True)
class Scene:
    """What both passes over the tiles read.

    Args:
        stock: the stands' parts inside the region and what they hold.
        height: canopy height, m, lazy, ``(row, col)``.
        mask: forest mask, or None.
        folder: where the first pass keeps each tile's coverage for the second.
    """

    stock: Stock
    height: xr.DataArray
    mask: Path | None
    folder: Path

    def sums(self, tile: Tile) -> StandSums:
        """A tile's part of every stand's sums; the coverage is kept for the second pass."""
        cover = polygon_coverage(self.stock.parts, tile.grid)
        with files.writing(self._kept(tile)), self._kept(tile).open("wb") as stream:
            for part in (cover.stand, cover.cell, cover.fraction):
                np.save(stream, part)
        forest = read_forest(self.mask, tile.grid)
        area = tile.grid.pixel_area_ha()
        return stand_sums(cover, self._heights(tile), area, len(self.stock.share), forest)

    def labels(self, tile: Tile, sums: StandSums) -> Layers:
        """A tile of every map by name."""
        with self._kept(tile).open("rb") as stream:
            cover = Coverage(*(np.load(stream) for _ in range(3)))
        self._kept(tile).unlink()
        forest, area = read_forest(self.mask, tile.grid), tile.grid.pixel_area_ha()
        made = labels.spread(cover, self._heights(tile), area, sums, self.stock.inside, forest)
        pools = {f"{TOTAL}_{pool}": density for pool, density in made.density.items()}
        return {
            TOTAL: np.add.reduce(list(made.density.values())),
            **pools,
            COVERAGE.name: made.coverage,
            STAND.name: made.stand,
            SOURCE.name: made.source,
        }

    def _kept(self, tile: Tile) -> Path:
        return self.folder / f"{tile.name}.npy"

    def _heights(self, tile: Tile) -> Floats:
        return np.asarray(self.height.isel(y=tile.roi[0], x=tile.roi[1]).values)


def build_labels(
    project: Project,
    region: str,
    grid: Grid,
    out: Path,
    *,
    mask: Path | None = None,
    stratum: str | None = None,
    keep_going: bool = False,
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Carbon stock by stand, and its density by pixel (Yu et al., appendix A).

    Args:
        project: inventory, carbon profile and archive.
        region: name of the region in the archive, which must hold canopy height.
        grid: the region's.
        out: folder for maps, stands and summary.
        mask: forest mask; stock is then laid on the forest of each stand.
        stratum: stratum of stands whose species says nothing.
        keep_going: drop stands that cannot be used instead of stopping.
        existing: what to do about labels made otherwise.

    Raises:
        LabelError: stands cannot be used, and `keep_going` was not asked for.
        ConfigError: the project names no inventory or volume field, or an unknown profile.
    """
    path, fields = _inventory(project)
    profile = _profile(project)
    stack = open_stack(project.archive, region, dates=())
    scope.require_layers(stack, ("canopy_height",))
    scope.require_grid(project, region, grid)
    check_mask(mask, grid)
    origin = _origin(project, region, grid, path, fields, profile, stratum, mask)
    origin["keep_going"] = keep_going
    with output.claim(out / MARK, origin, existing) as work:
        if work is None:
            facts = (files.read_json(out / MARK) or {})["report"]
            told = {"labels": str(out), "state": "up to date"}
            return Report(f"{out} is up to date", told, incomplete=bool(facts["dropped"]))
        progress.say(f"reading {path.name}")
        inventory = read_inventory(
            path,
            fields,
            grid,
            layer=project.inventory.layer,
            encoding=project.inventory.encoding,
            nodata=project.inventory.nodata,
            assume_crs=project.inventory.assume_crs,
            keep_going=keep_going,
        )
        stock = label_report.stock(inventory, profile, region_.outline_of(project, region), stratum)
        scene = Scene(stock, stack["canopy_height"], mask, work.folder)
        made = _maps(project, grid, out, origin, profile, region)
        common.require_space(work, grid, len(made))
        sums = _first_pass(grid, scene)
        label_report.require_covered(inventory, stock, sums, grid)
        written = common.compute_tiles(
            grid, made, work, lambda tile: scene.labels(tile, sums), "laying carbon on pixels"
        )
        facts = label_report.summary(project, region, inventory, profile, stock, sums, written)
        products = common.write_maps(grid, made, work, written, project.output.threads)
        products += [maps.write_sidecar(one, written[n].sums, origin) for n, one in made.items()]
        products += _tables(out, inventory, stock, sums, facts)
        products.append(_picture(out, region, grid, project, profile, facts))
        work.finish(products, facts)
    return Report(label_text.text(out, facts), facts, incomplete=bool(inventory.dropped))


def _origin(
    project: Project,
    region: str,
    grid: Grid,
    path: Path,
    fields: Fields,
    profile: Profile,
    stratum: str | None,
    mask: Path | None,
) -> Json:
    """Settings and inputs by which labels are known again."""
    return {
        "stage": "build-labels",
        "region": region_.region_json(project, region, grid),
        "fields": dataclasses.asdict(fields)
        | {key: getattr(project.inventory, key) for key in ("encoding", "layer", "nodata")},
        "assume_crs": project.inventory.assume_crs,
        "profile": dataclasses.asdict(profile),
        "stratum": stratum,
        **({} if project.inventory.year is None else {"year": project.inventory.year}),
        "labels": {key: getattr(project.labels, key) for key in ("profile", *OF_TOTALS)},
        "style_range_mg_c_ha": list(project.output.style_range_mg_c_ha),
        "inputs": vector.hash_inputs(path)
        | scope.layer_hashes(project.archive, region, ("canopy_height",))
        | ({"mask": files.sha256(mask)} if mask else {}),
    }


def _inventory(project: Project) -> tuple[Path, Fields]:
    """The inventory's file and field names.

    Raises:
        ConfigError: one that is needed is not given.
    """
    given = project.inventory
    for value, name, option in (
        (given.path, "inventory.path", "INVENTORY"),
        (given.volume_field, "inventory.volume_field", "--volume-field"),
    ):
        if value is None:
            raise ConfigError(f"no {name} is set; give {option}, or write it into {config.FILE}")
    fields = Fields(
        str(given.volume_field),
        given.id_field,
        given.area_field,
        given.species_field,
        given.group_fields,
    )
    for what in ("id", "area", "species"):
        if getattr(fields, what) == fields.volume:
            raise ConfigError(
                f"field {fields.volume!r} is named as volume and as {what}; give the field that "
                f"holds growing stock, m³/ha, as inventory.volume_field"
            )
    return files.existing(str(given.path), "inventory"), fields


def _profile(project: Project) -> Profile:
    found = config.profiles(project)
    name = project.labels.profile
    if name not in found:
        raise ConfigError(f"carbon profile {name!r} is not known; {nearest(name, found)}")
    return found[name]


def _maps(
    project: Project, grid: Grid, out: Path, origin: Json, profile: Profile, region: str
) -> dict[str, MapFile]:
    """Every map of the labels: all pools, each pool, and what they rest on."""
    style = project.output.style_range_mg_c_ha
    pools = ", ".join(profile.pools)
    base = common.provenance(origin, region=region, profile=profile.name)
    made = {TOTAL: Layer(TOTAL, f"carbon density: {pools}", DENSITY_UNITS)}
    for pool, text in profile.pools.items():
        made[f"{TOTAL}_{pool}"] = Layer(f"{TOTAL}_{pool}", f"carbon density: {text}", DENSITY_UNITS)
    held = {name: pools if name == TOTAL else name.removeprefix(f"{TOTAL}_") for name in made}
    return {
        name: MapFile(
            out / f"{name}.tif", grid, layer, base | {"CARBONMAP_POOLS": held[name]}, None, style
        )
        for name, layer in made.items()
    } | {
        layer.name: MapFile(out / f"{layer.name}.tif", grid, layer, base)
        for layer in (COVERAGE, STAND, SOURCE)
    }


def _first_pass(grid: Grid, scene: Scene) -> StandSums:
    """Every stand's sums over the map, tile by tile in a fixed order."""
    todo = list(tiles(grid, TILE_PX))
    total = StandSums.zeros(len(scene.stock.share))
    parts = common.ahead(scene.sums, todo, common.WORKERS)
    for part in progress.track(parts, "weighing canopies", len(todo)):
        total += part
    return total


def _tables(
    out: Path, inventory: Inventory, stock: Stock, sums: StandSums, facts: Json
) -> list[Path]:
    """The stands and the summary, for people and for programs."""
    stands = label_report.stand_table(inventory, stock, sums)
    vector.write_stands(stands, out / STANDS)
    files.write_json(out / "summary.json", facts)
    files.write_text(out / "summary.csv", "\ufeff" + label_text.csv_text(facts))
    return [out / STANDS, out / "summary.json", out / "summary.csv"]


def _picture(
    out: Path, region: str, grid: Grid, project: Project, profile: Profile, facts: Json
) -> Path:
    """The map of all pools, with the totals beside it."""
    path = out / "carbon_density.png"
    values, bounds, _ = maps.overview(out / f"{TOTAL}.tif")
    title = f"{region}: carbon in {', '.join(profile.pools).replace('_', ' ')}"
    rows = label_text.picture_rows(facts)
    low, high = project.output.style_range_mg_c_ha
    name = label_text.crs_label(grid)
    figures.draw_map(
        path, values, bounds, (low, high), title, "carbon density, Mg C/ha", name, rows
    )
    return path
