"""What a map of change says of simulated counties five years apart, and what is true.

    python benchmarks/coverage_change.py [--counties 6] [--size 768] [--areas 40] [--light 0.03]

Every county has its own land and model; the README's commands make both maps, what `calibrate
--change` finds, and the change. In the second image's bands lies an error of its own, as large as
the calibration assumes. A tenth of the stands is felled meanwhile, the others have grown. Areas are
rectangles as in `coverage_totals`. Errors are by counties drawn with replacement.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from coverage_totals import areas
from probe import carbonmap

from carbonmap.change import GAIN, LOSS
from carbonmap.coverage import polygon_coverage
from carbonmap.io import lattice, maps
from carbonmap.uncertainty import Z95

BANDS = ("blue", "green", "red", "nir")

LARGE = 50.0
"""Mg C/ha, of a loss that a map should show."""

ROWS = (
    "pixels that grew by less than 50 Mg C/ha, significant",
    "pixels that lost 50 Mg C/ha or more, significant",
    "pixels whose change lies within 1.96 SD: of those that grew",
    "pixels whose change lies within 1.96 SD: of those that lost 50 Mg C/ha or more",
    "totals of change within their 95 % interval",
)


def darker(folder, seed, light):
    """Put an error into every band of the second image."""
    random = np.random.default_rng(seed)
    for band in BANDS:
        path = folder / "later" / f"image_2025-11-15_{band}.tif"
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as image:
            data = image.read(1)
            good = data != image.nodata
            data[good] = np.round(data[good] * (1 + light * random.standard_normal()))
            image.write(data, 1)


def county(folder, seed, given):
    """Both maps of a county of its own, by the README's commands."""
    folder.mkdir()
    files = [
        ",".join(f"{b}={place}/image_{day}_{b}.tif" for b in BANDS)
        for place, day in (("county", "2020-11-15"), ("later", "2025-11-15"))
    ]
    error = ["--light-error", given.light]
    simulate = ["--size", given.size, "--seed", seed]
    carbonmap(folder, "simulate", "county", *simulate)
    carbonmap(folder, "simulate", "later", *simulate, "--years-later", 5, "--felled", 0.1)
    darker(folder, seed, given.light)
    for words in (
        ["init", "--region", "land", "--like", "county/dem.tif"],
        ["ingest", "image", "--bands", files[0], "--date", "2020-11-15", "--scale", "1e-4"],
        ["ingest", "image", "--bands", files[1], "--date", "2025-11-15", "--scale", "1e-4"],
        ["ingest", "dem", "county/dem.tif"],
        ["ingest", "canopy-height", "county/canopy_height.tif"],
        ["build-labels", "county/inventory.shp", "--volume-field", "HUO_LMGQXJ"],
        ["train", "--model", given.model, "--dates", "2020-11", "-o", "model"],
        ["predict", "--model", "model", "--dates", "2020-11,2025-11"],
        ["calibrate", "--change", "--model", "model", "--dates", "2020-11", *error],
    ):
        carbonmap(folder, *words)
    return [
        folder / "maps" / f"land_{month}_carbon_density.tif" for month in ("2020-11", "2025-11")
    ]


def measure(folder, seed, given):
    """`ROWS` of a county."""
    before, after = county(folder, seed, given)
    grid = maps.map_grid(before)
    boxes = areas(grid, given.areas, seed)
    boxes.to_file(folder / "areas.gpkg")
    told = json.loads(
        carbonmap(
            folder, "change", before, after, "--areas", "areas.gpkg", "--area-field", "NAME",
            "--json",
        )[2]
    )  # fmt: skip
    mapped, sd, code = (
        lattice.read_on_grid(folder / "change" / f"land_2020-11_2025-11_{name}.tif", grid, "map")
        for name in ("carbon_change", "carbon_change_sd", "carbon_change_significant")
    )
    true = np.subtract(
        *(
            lattice.read_on_grid(folder / name / "truth.tif", grid, "truth").astype(np.float64)
            for name in ("later", "county")
        )
    )
    known = np.isfinite(mapped)
    held = np.abs(mapped - true) <= Z95 * sd
    grew, lost = known & (np.abs(true) < LARGE) & (true >= 0), known & (true <= -LARGE)
    area = (
        np.where(known, true, 0).ravel() * np.broadcast_to(grid.pixel_area_ha(), grid.shape).ravel()
    )
    cover = polygon_coverage(np.array(boxes.geometry.array, dtype=object), grid)
    sums = np.bincount(
        cover.stand, cover.fraction.astype(np.float64) * area[cover.cell], len(boxes)
    )
    own = [one["pools"]["total"] for one in told["areas"] if one["kind"] == "area"]
    within = [
        one["low_95_t_c"] <= t_c <= one["high_95_t_c"] for one, t_c in zip(own, sums, strict=True)
    ]
    return np.array(
        [
            np.isin(code[grew], (LOSS, GAIN)).mean(),
            (code[lost] == LOSS).mean(),
            held[grew].mean(),
            held[lost].mean(),
            np.mean(within),
        ]
    )


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counties", type=int, default=6)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--areas", type=int, default=40)
    parser.add_argument("--light", type=float, default=0.03)
    parser.add_argument("--model", default="ols")
    parser.add_argument("--seed", type=int, default=100)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for k in range(given.counties):
            found.append(measure(Path(name) / str(k), given.seed + k, given))
            print(f"county {given.seed + k}:", *(f"{v:.1%}" for v in found[-1]), flush=True)
    table, random = np.array(found), np.random.default_rng(0)
    drawn = table[random.integers(len(table), size=(2000, len(table)))].mean(1)
    for row, value, error in zip(ROWS, table.mean(0), drawn.std(0), strict=True):
        print(f"{row}: {value:.1%} ± {error:.1%}")


if __name__ == "__main__":
    main()
