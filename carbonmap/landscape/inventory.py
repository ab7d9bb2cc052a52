"""What a forest inventory says of each simulated stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray

from carbonmap import crs as crs_
from carbonmap.fields import field_key, fractal, normal, smooth_at, uniform
from carbonmap.grid import Grid
from carbonmap.landscape.county import County
from carbonmap.landscape.mesh import Mesh, mesh
from carbonmap.landscape.relief import elevation_at
from carbonmap.landscape.species import SPECIES, TREELESS
from carbonmap.types import Ints, Plots

CARBON_PER_VOLUME = 2.439 * 1.90 * 0.5 * 0.5
"""t C (all pools) per m³ of standing wood: the stock-expansion profile (Yu et al., appendix A).
Written out and not read from the labels' code, so that the truth can find that code wrong."""

FOREST, NON_FOREST = "0111", "0300"
"""Land-class codes (DI_LEI) as in the real inventory of ``data/zion``."""

AGE_SHARE = (0.16, 0.42, 0.66, 0.85, 1.0)
"""Volume ÷ that of the oldest: young, middle-aged, near-mature, mature, over-mature."""

TOWNSHIPS = (
    "金钟街道", "古城街道", "宝云街道", "娜姑镇", "迤车镇", "乐业镇", "矿山镇", "者海镇",
    "大井镇", "待补镇", "大海乡", "老厂乡", "五星乡", "大桥乡", "鲁纳乡", "马路乡", "火红乡",
    "雨碌乡", "新街乡", "驾车乡", "纸厂乡", "田坝乡", "上村乡",
)  # fmt: skip
"""Names of Huize's townships; a bigger county uses them again. 23 is prime, so that in steps of 5
and 7 no two neighbours share a name."""

GROWTH = 0.03
"""Of growing stock, a year, as of a young managed forest."""

FELLED_CLOSURE = 0.1
"""Share of the ground under crowns where a stand was felled and planted anew."""

HEIGHT_SD = 0.08
"""Spread (of the logarithm) of canopy height between stands of one species and volume."""


@dataclass(frozen=True)
class Stands:
    """The stands of a place, one array entry each, in the order of their lattice places.

    Args:
        id: unique text made from the lattice place, such as ``r12c-7``.
        geometry: polygons in the grid's CRS.
        township: name of the township.
        species: dominant species, 无 where there is no forest.
        land_class: 0111 forest, 0300 other land.
        age_group: 1 young … 5 over-mature; 0 where there is no forest.
        canopy_closure: share of the ground under crowns.
        growing_stock: ``V_ha``, m³ ha⁻¹, to the two decimals that inventories keep.
        area_ha: area on the ellipsoid, ha.
        visible_stock: the part of ``V_ha``'s variation that shows in an image, m³ ha⁻¹.
        canopy_height: mean height of the canopy, m.
        kind: number of the species in `SPECIES`.
    """

    id: NDArray[np.object_]
    geometry: NDArray[np.object_]
    township: NDArray[np.object_]
    species: NDArray[np.object_]
    land_class: NDArray[np.object_]
    age_group: Ints
    canopy_closure: Plots
    growing_stock: Plots
    area_ha: Plots
    visible_stock: Plots
    canopy_height: Plots
    kind: Ints

    def __len__(self) -> int:
        """How many stands there are."""
        return len(self.id)

    @property
    def carbon_stock(self) -> Plots:
        """Stock of each stand, all pools, t C: what its pixels of true carbon add up to."""
        return CARBON_PER_VOLUME * self.growing_stock * self.area_ha

    def columns(self) -> dict[str, NDArray[np.generic] | NDArray[np.object_]]:
        """Attributes under the field names of Chinese inventories, areas and closures rounded."""
        return {
            "XIAO_BAN": self.id,
            "XIANG": self.township,
            "YOU_SHI_SZ": self.species,
            "DI_LEI": self.land_class,
            "LING_ZU": self.age_group,
            "YU_BI_DU": self.canopy_closure.round(2),
            "MIAN_JI": self.area_ha.round(4),
            "HUO_LMGQXJ": self.growing_stock,
        }


def stands(grid: Grid, county: County) -> Stands:
    """The stands that touch a grid, whole, the same in every grid that asks.

    Args:
        grid: where; in a CRS that is not equal-area, areas take the scale at each stand's seed.
        county: which county.
    """
    return describe(mesh(grid, county), grid, county)


def describe(cells: Mesh, grid: Grid, county: County) -> Stands:
    """Attributes of a mesh's stands.

    Species is the one that does best at the elevation of the seed, plus chance that is smooth over
    kilometres; age and closure are smooth with a part of their own; volume is
    ``species' greatest × site × age × closure``, times a log-normal part that no image shows; the
    normal deviates of both are cut at ±2, since no real stand holds 900 m³ ha⁻¹. Years later
    stands have grown by `GROWTH` a year, and those that were felled are young and open.
    """
    place = partial(smooth_at, cells.y, cells.x)
    kind = _species(cells, county)
    forest = kind != TREELESS
    age = np.digitize(_mixture(cells, county, "age"), (-0.9, 0.1, 0.8, 1.5))
    closure = np.clip(0.66 + 0.16 * _mixture(cells, county, "closure"), 0.2, 0.95)
    felled = uniform(cells.row, cells.col, field_key(county.seed, "felled")) < county.felled_share
    age, closure = np.where(felled, 0, age), np.where(felled, FELLED_CLOSURE, closure)
    site = np.exp(0.22 * fractal(place, 1500.0, field_key(county.seed, "site"), 3).clip(-2, 2))
    most = np.array([one.most_volume for one in SPECIES])[kind]
    grown = np.where(felled, 1.0, (1 + GROWTH) ** county.years)
    visible = most * site * np.array(AGE_SHARE)[age] * closure * grown
    hidden = normal(cells.row, cells.col, field_key(county.seed, "hidden")).clip(-2, 2)
    stock = (visible * np.exp(county.hidden_sd * hidden - county.hidden_sd**2 / 2)).round(2)
    return Stands(
        id=_text(f"r{r}c{c}" for r, c in zip(cells.row, cells.col, strict=True)),
        geometry=cells.geometry,
        township=_townships(cells, county),
        species=_text(SPECIES[k].name for k in kind),
        land_class=np.where(forest, FOREST, NON_FOREST).astype(object),
        age_group=np.where(forest, age + 1, 0),
        canopy_closure=np.where(forest, closure, 0.0),
        growing_stock=stock,
        area_ha=_areas(cells, grid),
        visible_stock=visible,
        canopy_height=_heights(cells, kind, visible, stock, county),
        kind=kind,
    )


def _mixture(cells: Mesh, county: County, name: str) -> Plots:
    """A standard normal property of stands: half smooth over a kilometre, half each stand's own."""
    near = smooth_at(cells.y, cells.x, 1200.0, field_key(county.seed, name, "smooth"))
    own = normal(cells.row, cells.col, field_key(county.seed, name, "own"))
    return np.asarray((near + own) * 0.5**0.5)


def _species(cells: Mesh, county: County) -> Ints:
    """Number of the species that does best at each seed; see `species.SPECIES` for the niches."""
    height = elevation_at(cells.x, cells.y, county)
    low, high = county.elevation_m
    level = (height - low) / (high - low)
    scores = []
    for one in SPECIES:
        near = smooth_at(cells.y, cells.x, one.patch_m, field_key(county.seed, "species", one.name))
        own = normal(cells.row, cells.col, field_key(county.seed, "species", one.name, "own"))
        scores.append(one.fitness(level) + 0.75 * near + 0.5 * own)
    return np.asarray(np.argmax(scores, axis=0))


def _heights(cells: Mesh, kind: Ints, visible: Plots, stock: Plots, county: County) -> Plots:
    """Mean canopy height, m, from a volume half-way (geometrically) between seen and true.

    ``H = a √V``, the usual shape of height–volume curves of closed stands; open land has low scrub.
    So canopy height tells part of the volume that images hide.
    """
    factor = np.array([one.height_per_root for one in SPECIES])[kind]
    own = normal(cells.row, cells.col, field_key(county.seed, "height"))
    tree = factor * (visible * stock) ** 0.25 * np.exp(HEIGHT_SD * own)
    scrub = 1.2 * uniform(cells.row, cells.col, field_key(county.seed, "scrub"))
    return np.where(kind == TREELESS, scrub, np.maximum(tree, 1.3))


def _townships(cells: Mesh, county: County) -> NDArray[np.object_]:
    """Name of the township of each stand: the nearest of jittered seats, 3×3 of them tried."""
    size = county.township_m
    row, col = np.floor(cells.y / size), np.floor(cells.x / size)
    best = np.full(cells.row.size, np.inf)
    name = np.zeros(cells.row.size, dtype=np.int64)
    for down in (-1, 0, 1):
        for along in (-1, 0, 1):
            r, c = (row + down).astype(np.int64), (col + along).astype(np.int64)
            y = (r + 0.2 + 0.6 * uniform(r, c, field_key(county.seed, "seat y"))) * size
            x = (c + 0.2 + 0.6 * uniform(r, c, field_key(county.seed, "seat x"))) * size
            far = (y - cells.y) ** 2 + (x - cells.x) ** 2
            name = np.where(far < best, (5 * r + 7 * c) % len(TOWNSHIPS), name)
            best = np.minimum(far, best)
    return _text(TOWNSHIPS[n] for n in name)


def _areas(cells: Mesh, grid: Grid) -> Plots:
    flat = shapely.area(cells.geometry) / 1e4
    scale = 1.0 if grid.equal_area else crs_.areal_scale(grid.crs, cells.x, cells.y)
    return np.asarray(flat / scale)


def _text(words: Iterable[str]) -> NDArray[np.object_]:
    return np.array(list(words), dtype=object)
