"""A mosaic of twelve overlapping scenes against what must be done at least.

The floor, measured in the same run: a bare zarr pass that decompresses every scene once and writes
an image of the region's size once, block by block in one thread. A mosaic reads scenes twice (to
harmonise, to compose), finds distances to clouds, and reads its image back. Memory is bounded by
the block: with --size 8192 it is what it is with 4096, but for the samples by which scenes are
compared.

    python benchmarks/bench_mosaic.py [--size 4096] [--runs 3] [--folder DIR]
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from probe import carbonmap
from scipy import ndimage

from carbonmap import config
from carbonmap.features import BANDS
from carbonmap.io import files, output, scenes, store
from carbonmap.io.scenes import SceneInfo
from carbonmap.landscape import county_grid
from carbonmap.quality import Quality

ROWS, COLS = 3, 4
OVERLAP = 0.25
CLOUDS = 0.2


def place(number, size):
    """Where a scene lies: one of three rows of four, which overlap by a quarter."""
    edges = []
    for k, count in zip(divmod(number, COLS), (ROWS, COLS), strict=True):
        step = size / (count - OVERLAP * (count - 1)) * (1 - OVERLAP)
        edges.append(slice(round(k * step), min(round(k * step + step / (1 - OVERLAP)), size)))
    return tuple(edges)


def draw(folder, region, number, size):
    """One scene of the archive: noise at two scales, as its own camera sees it, and clouds."""
    rng = np.random.default_rng(number)
    part = region[place(number, size)]
    grid = scenes.reached(region, part)
    inside = np.zeros(grid.shape, bool)
    inside[grid.roi_of(part)] = True
    clouds = ndimage.zoom(rng.random([n // 64 + 2 for n in grid.shape]), 64, order=1)
    clouds = clouds[: grid.height, : grid.width] > np.quantile(clouds, 1 - CLOUDS)
    quality = np.where(clouds, np.uint8(Quality.CLOUD), np.uint8(0))
    quality[~inside] = Quality.OUTSIDE
    day = f"2020-08-{1 + number * 2:02}T04:00:00+00:00"
    info = SceneInfo(
        f"scene_{number:02}", grid, BANDS, day, "WFV1", 30.0, 120.0, 10.0, 100.0, "reflectance"
    )
    out = scenes.folder_of(folder / "archive", "b", info.id)
    image, flags = scenes.create(out / "data.zarr", info)
    for roi in store.chunk_rois(grid.shape, image.chunks):
        store.write_block(flags, None, roi, quality[roi])
        for band in range(len(BANDS)):
            seen = 0.1 + 0.05 * band + 0.01 * rng.normal(1, 1, quality[roi].shape)
            seen = np.round(seen * 2**14) / 2**14
            data = np.where(inside[roi], seen, np.nan).astype(np.float32)
            store.write_block(image, band, roi, data)
    paths = [p for p in sorted((out / "data.zarr").rglob("*")) if p.is_file()]
    held = {p.relative_to(out).as_posix(): files.describe(p) for p in paths}
    output.write_mark(out / scenes.MARK, {}, held, {"scene": info.to_json()})


def floor(folder, region):
    """Seconds to decompress every scene and to write one image, its blocks forced to the disk."""
    start = time.perf_counter()
    for path, _ in scenes.scenes(folder / "archive", "b"):
        image, quality = scenes.open_scene(path)
        for roi in store.chunk_rois(quality.shape, quality.chunks):
            data, _ = image[:, *roi], quality[roi]
    info = store.LayerInfo("image", region, BANDS, "1", "reflectance", "2020-01-01")
    array = store.create(folder / "bare.zarr", info)
    noise = np.resize(data, (len(BANDS), store.CHUNK_PX, store.CHUNK_PX))
    for roi in store.chunk_rois(region.shape, array.chunks):
        height, width = region[roi].shape
        for band, values in enumerate(noise):
            key = store.write_block(array, band, roi, values[:height, :width])
            files.sync_file(folder / "bare.zarr" / "image" / key)
    seconds = time.perf_counter() - start
    shutil.rmtree(folder / "bare.zarr")
    return seconds


def measure(folder, size, runs):
    """Wall time against the floor, in turn; then a run that finds all done."""
    region = county_grid(size, size, crs=config.crs_text("china-albers"))
    box = [str(b) for b in region.bounds]
    folder.mkdir(parents=True)
    carbonmap(
        folder, "init", "--region", "b", "--crs", "china-albers", "-r", "16", "--bounds", *box
    )
    for number in range(ROWS * COLS):
        draw(folder, region, number, size)
    ours, bare, peak = [], [], 0.0
    for _ in range(runs):
        shutil.rmtree(folder / "archive" / "b" / "image_2020-08-16", ignore_errors=True)
        seconds, used, _ = carbonmap(folder, "mosaic", "--dates", "2020-08")
        ours.append(seconds)
        peak = max(peak, used)
        bare.append(floor(folder, region))
    again, *_ = carbonmap(folder, "mosaic", "--dates", "2020-08")
    for name, figures in (("mosaic", ours), ("bare zarr pass", bare)):
        print(f"{name:<16} min {min(figures):7.1f} s   median {statistics.median(figures):7.1f} s")
    ratio = min(ours) / min(bare)
    print(f"ratio of minima {ratio:.2f}; peak memory {peak:,.0f} MB; run again {again:.1f} s")
    return {"ratio": ratio, "peak_mb": peak, "again_s": again}


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        print(f"{ROWS * COLS} scenes on {given.size} x {given.size} px")
        print(json.dumps(measure(Path(name) / "b", given.size, given.runs)))


if __name__ == "__main__":
    main()
