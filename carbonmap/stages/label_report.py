"""What labels amount to: stock by stand, totals by pool and field, mass balance, problems."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from carbonmap import uncertainty
from carbonmap.allometry import CO2_PER_C, Profile, assign_strata, carbon_stock
from carbonmap.coverage import share_inside
from carbonmap.errors import CorruptData
from carbonmap.findings import listed
from carbonmap.grid import Grid
from carbonmap.io import vector
from carbonmap.io.stands import Inventory
from carbonmap.labels import StandSums
from carbonmap.outlines import Overlaps, counted_twice
from carbonmap.project import Project
from carbonmap.stages.common import Written
from carbonmap.types import Bool, Floats, Ints, Json, Plots

BALANCE = 1e-6
"""Largest relative difference between a map's carbon and its stands' that counts as none."""


M2_PER_HA = 1e4

MOST_DENSITY = 3000.0
"""Mg C/ha; the densest forest measured, of mountain ash in Victoria, holds up to some 2,800 in
trees and dead wood (Keith et al. 2009, PNAS 106)."""

COVERED_EQUAL_AREA = 1e-4
"""Largest relative difference between a stand's outline and its pixels on an equal-area CRS, where
only float32 shares round."""

COVERED_ELSEWHERE = 0.05
"""The same where pixels are weighed by their area on the ellipsoid and the outline is not: a UTM
zone's scale stays far below, even well outside the zone."""


@dataclass(frozen=True)
class Stock:
    """What the stands hold, and which part of it lies inside the region.

    Args:
        parts: the stands' parts inside the region, shapely, shape ``(stand,)``.
        share: the parts' shares of their stands' areas, 0–1.
        stratum: place of each stand's stratum in the profile.
        whole: t C by pool, each ``(stand,)``; NaN where the volume is unknown.
        inside: the same of the parts.
    """

    parts: np.ndarray[tuple[int], np.dtype[np.object_]]
    share: Floats
    stratum: Ints
    whole: Mapping[str, Plots]
    inside: Mapping[str, Plots]

    @property
    def known(self) -> Bool:
        """Stands of known stock."""
        return np.isfinite(next(iter(self.whole.values())))


def stock(
    inventory: Inventory, profile: Profile, outline: shapely.Geometry, stratum: str | None
) -> Stock:
    """Stock of every stand, split by area at the region's outline."""
    stands = inventory.stands
    volume, area = (stands[c].to_numpy(dtype=np.float64) for c in ("growing_stock", "area_ha"))
    species = stands["species"].tolist() if "species" in stands else None
    places = assign_strata(profile, species, volume, stratum)
    whole = carbon_stock(volume, area, profile, places)
    parts, share = share_inside(np.array(stands.geometry.array, dtype=object), outline)
    return Stock(parts, share, places, whole, {p: c * share for p, c in whole.items()})


def require_covered(inventory: Inventory, stock: Stock, sums: StandSums, grid: Grid) -> None:
    """Make sure that every stand's part inside the region lies on pixels, all of it.

    Raises:
        CorruptData: the pixels of some stand cover another area than its outline.
    """
    area = shapely.area(stock.parts) / M2_PER_HA
    slack = COVERED_EQUAL_AREA if grid.equal_area else COVERED_ELSEWHERE
    wrong = np.abs(sums.covered - area) > slack * area
    if wrong.any():
        worst = int(np.argmax(np.where(wrong, np.abs(sums.covered - area) / area, 0.0)))
        raise CorruptData(
            f"{int(wrong.sum())} stands ({listed(inventory.stands['id'][wrong])}) cover other "
            f"areas on the grid than by their outlines (worst: {sums.covered[worst]:.6g} against "
            f"{area[worst]:.6g} ha); nothing was published; repair these outlines"
        )


def stand_table(inventory: Inventory, stock: Stock, sums: StandSums) -> vector.Frame:
    """The stands with stock by pool (t C, of the whole stand), shares and flags."""
    stands = inventory.stands.copy()
    for pool, carbon in stock.whole.items():
        stands[f"{pool}_t_c"] = carbon
    stands["total_t_c"] = np.sum(list(stock.whole.values()), axis=0)
    stands["inside_share"] = stock.share
    stands["mean_canopy_height_m"] = sums.mean_height
    with np.errstate(invalid="ignore", divide="ignore"):
        stands["canopy_measured_share"] = sums.measured / sums.forest
    for name, flag in flags(stock, sums).items():
        stands[name] = flag
    return stands


def flags(stock: Stock, sums: StandSums) -> dict[str, Bool]:
    """What is particular about each stand's labels."""
    known = stock.known
    return {
        "unknown_volume": ~known,
        "off_region": stock.share == 0,
        "partly_off_region": (stock.share > 0) & (stock.share < 1),
        "part_without_canopy_height": known
        & ~sums.even
        & (sums.measured < sums.forest * (1 - 1e-9)),
        "spread_evenly": known & sums.even & ~sums.without_forest,
        "without_forest": known & sums.without_forest,
    }


def summary(
    project: Project,
    region: str,
    inventory: Inventory,
    profile: Profile,
    stock: Stock,
    sums: StandSums,
    written: Mapping[str, Written],
) -> Json:
    """Everything that the labels amount to, as plain values."""
    stands = inventory.stands
    area = stands["area_ha"].to_numpy(dtype=np.float64)
    volume = stands["growing_stock"].to_numpy(dtype=np.float64)
    fields = [*(["species"] if "species" in stands else []), *project.inventory.group_fields]
    marked = {k: int(v.sum()) for k, v in flags(stock, sums).items()}
    return {
        "region": region,
        "inventory_year": project.inventory.year,
        "has_boundary": not project.find_region(region).is_box,
        "profile": profile.name,
        "pools": dict(profile.pools),
        "units": "t C, t CO2, ha",
        "stands": len(stands),
        "totals": _totals(stock, area),
        "outside_region": _outside(stock, area),
        "by": {f: _by(stands[f].to_numpy(), stock, area) for f in fields},
        "uncertainty": _uncertainty(project, profile, stock, volume, area),
        "mass_balance": _balance(stock, written["carbon_density"].tonnes),
        "valid_pixels": written["carbon_density"].sums.count,
        "flags": marked,
        "problems": [
            {
                "kind": str(p.kind),
                "count": len(p.ids),
                "ids": list(p.ids),
                "detail": p.detail,
                "repairable": p.repairable,
            }
            for p in inventory.problems
        ],
        "overlaps": _overlaps(inventory, stock, area),
        "dropped": list(inventory.dropped),
        "notes": [
            *inventory.notes,
            *_notes(project, region, stock, marked),
            *_crowded(written["carbon_density"].sums.high),
        ],
    }


def _totals(stock: Stock, area: Plots) -> Json:
    """Sums over all stands of what lies inside the region."""
    known, inside = stock.known, stock.share * area
    pools = {p: float(c[known].sum()) for p, c in stock.inside.items()}
    count = int((stock.share > 0).sum())
    return _told(count, float(inside.sum()), float(inside[known].sum()), pools)


def _told(stands: int, area: float, known_area: float, pools: Mapping[str, float]) -> Json:
    total = sum(pools.values())
    return {
        "stands": stands,
        "area_ha": area,
        "known_area_ha": known_area,
        "t_c": {**pools, "total": total},
        "t_co2": {p: c * CO2_PER_C for p, c in pools.items()} | {"total": total * CO2_PER_C},
    }


def _by(values: np.ndarray[Any, Any], stock: Stock, area: Plots) -> dict[str, Json]:
    """Totals by the values of one field."""
    texts, group = np.unique(values.astype(str), return_inverse=True)
    known = stock.known
    inside = stock.share * area

    def sums(weights: Plots) -> list[float]:
        return [float(v) for v in np.bincount(group, weights, len(texts))]

    counts, areas, known_areas = (
        sums((stock.share > 0).astype(np.float64)),
        sums(inside),
        sums(inside * known),
    )
    pools = {p: sums(np.where(known, c, 0.0)) for p, c in stock.inside.items()}
    return {
        str(text) or "(empty)": _told(
            int(counts[k]), areas[k], known_areas[k], {p: c[k] for p, c in pools.items()}
        )
        for k, text in enumerate(texts)
    }


def _outside(stock: Stock, area: Plots) -> Json:
    lost = {p: float(np.nansum(c * (1 - stock.share))) for p, c in stock.whole.items()}
    return {
        "stands": int((stock.share < 1).sum()),
        "area_ha": float(((1 - stock.share) * area).sum()),
        "t_c": lost | {"total": sum(lost.values())},
    }


def _uncertainty(
    project: Project, profile: Profile, stock: Stock, volume: Plots, area: Plots
) -> Json:
    """95 % half-widths of the totals inside the region, by IPCC's approaches."""
    percent = project.labels.volume_uncertainty_percent
    args = (volume, area * stock.share, profile, stock.stratum)
    found: Json = {
        "volume_percent": percent,
        "approach_1": _estimates(uncertainty.error_propagation(*args, volume_percent=percent)),
    }
    if project.labels.monte_carlo:
        n = project.labels.monte_carlo
        drawn = uncertainty.monte_carlo(*args, n=n, volume_percent=percent)
        found["approach_2"] = _estimates(drawn) | {"draws": n}
    return found


def _estimates(found: Mapping[str, uncertainty.Estimate]) -> Json:
    return {
        name: {
            "t_c": e.total,
            "half_width_percent": None
            if math.isnan(e.half_width_percent)
            else e.half_width_percent,
            "low_t_c": e.low,
            "high_t_c": e.high,
        }
        for name, e in found.items()
    }


def _balance(stock: Stock, found: float) -> Json:
    """The carbon on the map, each pixel with its own area, against that of its stands, t C.

    Raises:
        CorruptData: they differ, which no rounding explains.
    """
    wanted = float(sum(np.nansum(c) for c in stock.inside.values()))
    apart = abs(found - wanted) / wanted if wanted else abs(found)
    if apart > BALANCE:
        raise CorruptData(
            f"the map holds {found:,.3f} t C and its stands {wanted:,.3f} t C: mass is not "
            f"conserved; "
            f"nothing was published; please report this with your inventory's size and CRS"
        )
    return {"stands_t_c": wanted, "map_t_c": found, "relative_difference": apart}


def _crowded(highest: float) -> list[str]:
    """A word on densities that nobody has measured anywhere."""
    if not highest > MOST_DENSITY:
        return []
    return [
        f"the densest pixel holds {highest:,.0f} Mg C/ha, more than was ever measured: stands' "
        f"stock was laid on few pixels; look at the mask, the canopy height and the volumes"
    ]


def _overlaps(inventory: Inventory, stock: Stock, area: Plots) -> Json:
    """Land that two stands claim, and the carbon that the totals hold of it once too often."""
    pairs = _inside(inventory.overlaps, inventory, stock)
    with np.errstate(invalid="ignore", divide="ignore"):
        density = np.sum(list(stock.whole.values()), axis=0) / area
    least, most = counted_twice(pairs, density)
    return {
        "pairs": len(pairs.first),
        "area_ha": float(pairs.area.sum()),
        "t_c_counted_twice": [least, most],
    }


def _inside(pairs: Overlaps, inventory: Inventory, stock: Stock) -> Overlaps:
    """The overlaps' parts inside the region; area is split as the plane shows it."""
    both = np.stack([stock.share[pairs.first], stock.share[pairs.second]])
    area = np.where(both.min(axis=0) > 0, pairs.area, 0.0)
    cut = np.flatnonzero((both.min(axis=0) > 0) & (both.min(axis=0) < 1))
    whole = np.array(inventory.stands.geometry.array, dtype=object)
    shared = [
        shapely.area(shapely.intersection(of[pairs.first[cut]], of[pairs.second[cut]]))
        for of in (stock.parts, whole)
    ]
    area[cut] *= np.divide(shared[0], shared[1], out=np.zeros(len(cut)), where=shared[1] > 0)
    some = area > 0
    return Overlaps(pairs.first[some], pairs.second[some], area[some])


def _notes(project: Project, region: str, stock: Stock, marked: Mapping[str, int]) -> list[str]:
    """What a reader of the totals must know."""
    notes = []
    if project.find_region(region).is_box:
        notes.append(
            f"region {region!r} is a box, not a boundary: totals are of the stands inside the box"
        )
    if marked["off_region"]:
        notes.append(f"{marked['off_region']} stands lie outside the region whole")
    if not stock.known.all():
        notes.append(f"{int((~stock.known).sum())} stands of unknown volume count for no carbon")
    if marked["without_forest"]:
        notes.append(
            f"the mask leaves {marked['without_forest']} stands no forest; their stock is spread "
            f"evenly over all they cover"
        )
    if marked["spread_evenly"]:
        notes.append(
            f"{marked['spread_evenly']} stands have no canopy height anywhere and are spread evenly"
        )
    return notes
