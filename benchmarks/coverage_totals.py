"""How often 95 % intervals of totals hold the truth, on independent simulated counties.

    python benchmarks/coverage_totals.py [--counties 12] [--size 768] [--areas 40] [--model ols]

Every county has its own land, its own model and its own held-out blocks; the README's commands make
map, evaluation and totals. Areas are rectangles with edges of 0.5 to 6 km anywhere in it, each
against the simulation's truth, which knows no error of factors: intervals here are the model's and
the volumes'. Beside it stands the sum as it is often done, with pixels' errors as independent.
Errors are by counties drawn with replacement.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from probe import carbonmap

from carbonmap.correlation import Structure
from carbonmap.coverage import polygon_coverage
from carbonmap.io import lattice, maps
from carbonmap.uncertainty import Z95


def county(folder, seed, size, model):
    """Map, evaluation and labels of a county of its own, by the README's commands."""
    folder.mkdir()
    bands = ",".join(
        f"{b}=county/image_2020-11-15_{b}.tif" for b in ("blue", "green", "red", "nir")
    )
    for words in (
        ["simulate", "county", "--size", size, "--seed", seed],
        ["init", "--region", "land", "--like", "county/dem.tif"],
        ["ingest", "image", "--bands", bands, "--date", "2020-11-15", "--scale", "1e-4"],
        ["ingest", "dem", "county/dem.tif"],
        ["ingest", "canopy-height", "county/canopy_height.tif"],
        ["build-labels", "county/inventory.shp", "--volume-field", "HUO_LMGQXJ"],
        ["train", "--model", model, "--dates", "2020-11", "-o", "model"],
        ["predict", "--model", "model", "--dates", "2020-11"],
        ["evaluate", "maps", "--truth", "labels"],
    ):
        carbonmap(folder, *words)
    return folder / "maps" / "land_2020-11_carbon_density.tif"


def areas(grid, number, seed):
    """Rectangles anywhere on a grid: edges log-uniform from 0.5 to 6 km."""
    random = np.random.default_rng(seed)
    left, bottom, right, top = grid.bounds
    wide, high = np.exp(random.uniform(np.log(500), np.log(6000), (2, number)))
    x = random.uniform(left, right - wide)
    y = random.uniform(bottom, top - high)
    boxes = shapely.box(x, y, x + wide, y + high)
    names = [f"a{k}" for k in range(number)]
    return gpd.GeoDataFrame({"NAME": names}, geometry=boxes, crs=grid.crs)


def truths(path, folder, structure, boxes):
    """Of each area: its true carbon where the map has a value, t C, and Σ (a σ)² of its pixels."""
    grid = maps.map_grid(path)
    estimate = lattice.read_on_grid(path, grid, "map")
    true = lattice.read_on_grid(folder / "county" / "truth.tif", grid, "truth")
    area = np.broadcast_to(grid.pixel_area_ha(), grid.shape).ravel()
    carbon = np.where(np.isfinite(estimate), true, 0).ravel() * area
    spread = structure.sigma(estimate).ravel() * area
    cover = polygon_coverage(np.array(boxes.geometry.array, dtype=object), grid)
    weight = cover.fraction.astype(np.float64)
    return (
        np.bincount(cover.stand, weight * carbon[cover.cell], len(boxes)),
        np.bincount(cover.stand, (weight * spread[cover.cell]) ** 2, len(boxes)),
    )


def measure(folder, seed, given):
    """Of a county's areas: total, truth, half-width told, and by independent pixels."""
    path = county(folder, seed, given.size, given.model)
    boxes = areas(maps.map_grid(path), given.areas, seed)
    boxes.to_file(folder / "areas.gpkg")
    _, _, said = carbonmap(
        folder, "totals", path, "--areas", "areas.gpkg", "--area-field", "NAME", "--json"
    )
    told = json.loads(said)
    structure = Structure.from_json(told["spatial_error"])
    own = [one["pools"]["total"] for one in told["areas"] if one["kind"] == "area"]
    true, squares = truths(path, folder, structure, boxes)
    halves = [one["half_t_c"] for one in own]
    return np.array(
        [
            [one["t_c"] for one in own],
            true,
            [math.hypot(half["model"], half["volume"]) for half in halves],
            Z95 * np.sqrt(squares),
        ]
    )


def share(found):
    """Share of areas whose truth is held, and its error by counties drawn with replacement."""
    held = np.array([[abs(c[0] - c[1]) <= half for half in c[2:]] for c in found])
    random = np.random.default_rng(0)
    drawn = held[random.integers(len(held), size=(2000, len(held)))].mean((1, 3))
    return held.mean((0, 2)), drawn.std(0)


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counties", type=int, default=12)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--areas", type=int, default=40)
    parser.add_argument("--model", default="ols")
    parser.add_argument("--seed", type=int, default=100)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for k in range(given.counties):
            one = measure(Path(name) / str(k), given.seed + k, given)
            found.append(one)
            error = (one[0] - one[1]) / one[2]
            print(
                f"county {given.seed + k}: {(np.abs(error) <= 1).mean():.0%} of {given.areas} "
                f"held, error {error.mean():+.2f} half-widths on average; half-widths "
                f"{np.median(one[2] / one[0]):.1%} of the total, by independent pixels "
                f"{np.median(one[3] / one[0]):.1%}",
                flush=True,
            )
    held, error = share(np.array(found))
    for text, value, spread in zip(("as told", "independent pixels"), held, error, strict=True):
        number = given.counties * given.areas
        print(f"95 % intervals {text}: held {value:.1%} ± {spread:.1%} of {number}")


if __name__ == "__main__":
    main()
