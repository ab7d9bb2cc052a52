"""build-labels on 20,000 stands against what must be done at least.

The floor, measured in the same run: one bare exactextract coverage pass over the same stands, and
one bare GDAL COG copy of every map that build-labels writes, from uncompressed tiles. Target: at
most twice the floor (minimum of the runs). With ``--memory``, the peak memory at 20,000 x 20,000
pixels against that at 8,192 x 8,192; target: at most 1.3 times.

    python benchmarks/bench_build_labels.py [--size 8192] [--runs 3] [--memory] [--folder DIR]
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.shutil
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from probe import carbonmap

from carbonmap import config, landscape
from carbonmap.cores import cpu_threads
from carbonmap.coverage import Polygons
from carbonmap.io import raster, vector
from carbonmap.landscape import County, county_grid
from carbonmap.tiles import tiles

STANDS = 20_000
TARGET = 2.0
MEMORY_TARGET = 1.3
COG = {
    "driver": "COG",
    "COMPRESS": "DEFLATE",
    "PREDICTOR": "YES",
    "LEVEL": "6",
    "BLOCKSIZE": "512",
    "STATISTICS": "YES",
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": str(cpu_threads()),  # as many as build-labels takes
}


def draw(tile, county, folder):
    """One canopy tile on the disk."""
    path = folder / f"{tile.name}.tif"
    raster.write_tile(path, landscape.canopy_height(tile.grid, county), tile.grid, float("nan"))
    return str(path)


def prepare(folder, size):
    """A project with canopy height and an inventory of some 20,000 stands."""
    grid = county_grid(size, size, crs=config.crs_text("china-albers"))
    county = County(stand_ha=size * size * grid.pixel_m**2 / 1e4 / STANDS)
    canopy = folder / "canopy"
    canopy.mkdir(parents=True)
    with ProcessPoolExecutor(2) as pool:
        files = list(pool.map(partial(draw, county=county, folder=canopy), tiles(grid, 2048)))
    stands = landscape.stands(grid, county)
    frame = vector.frame(stands.columns(), stands.geometry, grid.crs)
    vector.write_shapefile(frame, folder / "inventory.shp", "GBK")
    box = [str(b) for b in grid.bounds]
    carbonmap(
        folder, "init", "--region", "b", "--crs", "china-albers", "-r", "16", "--bounds", *box
    )
    carbonmap(folder, "ingest", "canopy-height", *files)
    shutil.rmtree(canopy)
    return grid, len(stands)


def build(folder):
    """Seconds and peak memory of build-labels, begun anew."""
    shutil.rmtree(folder / "labels", ignore_errors=True)
    fields = ["--volume-field", "HUO_LMGQXJ", "--id-field", "XIAO_BAN"]
    return carbonmap(folder, "build-labels", "inventory.shp", *fields)[:2]


def coverage_pass(folder, grid):
    """Seconds of a bare exactextract coverage pass over all stands."""
    outlines = np.array(gpd.read_file(folder / "inventory.shp").geometry.array, dtype=object)
    source = NumPyRasterSource(np.broadcast_to(np.float32(0), grid.shape), *grid.bounds)
    start = time.perf_counter()
    for first in range(0, len(outlines), 500):  # a batch's lists of pixels fit into memory
        batch = np.arange(first, min(first + 500, len(outlines)))
        polygons = Polygons(batch, shapely.to_wkb(outlines[batch]))
        exact_extract(source, polygons, ["cell_id", "coverage"], include_cols=["id"])
    return time.perf_counter() - start


def copies(folder):
    """Seconds of bare COG copies of every map of the labels, from uncompressed GeoTIFFs."""
    total = 0.0
    for path in sorted((folder / "labels").glob("*.tif")):
        plain, copy = folder / "plain.tif", folder / "copy.tif"
        classes = path.stem in ("stand", "height_source")
        with rasterio.Env(GDAL_CACHEMAX=256):
            rasterio.shutil.copy(path, plain, driver="GTiff", TILED="YES", BIGTIFF="IF_SAFER")
            start = time.perf_counter()
            overviews = "MODE" if classes else "AVERAGE"
            rasterio.shutil.copy(plain, copy, OVERVIEW_RESAMPLING=overviews, **COG)
            total += time.perf_counter() - start
        plain.unlink()
        copy.unlink()
    return total


def show(name, seconds):
    """Minimum and median of several runs."""
    print(f"{name:<28} min {min(seconds):8.1f} s   median {statistics.median(seconds):8.1f} s")


def speed(folder, size, runs):
    """Wall time against the floor, in turn."""
    grid, stands = prepare(folder, size)
    print(f"{stands:,} stands on {size} x {size} px, {runs} runs in turn")
    ours, cover, copy = [], [], []
    peak = 0.0
    for _ in range(runs):
        seconds, used = build(folder)
        peak = max(peak, used)
        ours.append(seconds)
        cover.append(coverage_pass(folder, grid))
        copy.append(copies(folder))
    floor = [a + b for a, b in zip(cover, copy, strict=True)]
    for name, figures in (
        ("build-labels", ours),
        ("bare coverage pass", cover),
        ("bare COG copies", copy),
    ):
        show(name, figures)
    ratio = min(ours) / min(floor)
    print(f"ratio of minima {ratio:.2f} (target <= {TARGET}); peak memory {peak:,.0f} MB")
    return {"ratio": ratio, "peak_mb": peak}


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        found = speed(Path(name) / "small", given.size, given.runs)
        if given.memory:
            shutil.rmtree(Path(name) / "small")
            large = Path(name) / "large"
            prepare(large, 20_000)
            seconds, peak = build(large)
            ratio = peak / found["peak_mb"]
            print(f"20,000 x 20,000 px: {seconds:,.0f} s, peak memory {peak:,.0f} MB")
            print(f"memory ratio {ratio:.2f} (target <= {MEMORY_TARGET})")
            found["memory_ratio"] = ratio
    print(json.dumps(found))


if __name__ == "__main__":
    main()
