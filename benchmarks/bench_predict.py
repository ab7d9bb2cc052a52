"""What `predict` costs beside its model, and whether it is bounded by the tile.

    python benchmarks/bench_predict.py [--parts overhead,assembly,memory,lattice] [--folder DIR]

overhead   4096 x 4096 px by a U-Net (`tiny`, a few steps of training: what it answers does not
           matter) against the same windows of the same tiles, already in memory. Target: 1.10.
assembly   three maps of 8192 x 8192 px from their tiles to verified COGs, against bare GDAL COG
           copies of the same three. Target: 1.3.
memory     peak memory of a map of 16,384 x 16,384 px against that of 4096 x 4096 px, by a cheap
           model (`ols` on terrain). Target: 1.2.
lattice    planning the tiles of Yunnan. Target: 2 s.

Times are of the wall and, in brackets, of all cores together.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from bench_build_labels import COG
from probe import carbonmap

from carbonmap import checkpoint, config
from carbonmap.fields import field_key, places, smooth, uniform
from carbonmap.io import output, raster
from carbonmap.io.cog import Layer
from carbonmap.io.maps import MapFile
from carbonmap.landscape import county_grid
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.stages import common, predict, scope
from carbonmap.stages import region as region_
from carbonmap.tiles import tiles

BANDS = ("blue", "green", "red", "nir")

SMALL = 384
"""Edge of the county that a model learns from, px."""

DAY = "2020-11-15"


class Watch:
    """Seconds of the wall, and of all cores."""

    def __enter__(self):
        self.start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall = time.perf_counter() - self.start[0]
        self.cores = time.process_time() - self.start[1]

    def __str__(self):
        return f"{self.wall:8.1f} s ({self.cores:8.1f})"


def land(grid, name):
    """Smooth values and a little noise: reflectance of a band, or heights."""
    wide, fine = (field_key(1, name, part) for part in ("wide", "fine"))
    values = smooth(grid.y, grid.x, 2000.0, wide)
    if name == "dem":
        return 2000 + 300 * values
    return 1e4 * (0.2 + 0.03 * values + 0.01 * uniform(*places(grid), fine)).clip(0, 1)


def draw(folder, grid, names):
    """Rasters of a large region, tile by tile into one file each."""
    for name in names:
        profile = {
            "driver": "GTiff", "dtype": "float32", "count": 1, "height": grid.height,
            "width": grid.width, "crs": grid.crs, "transform": grid.transform, "tiled": True,
            "blockxsize": 512, "blockysize": 512, "bigtiff": "IF_SAFER", "compress": "deflate",
            "zlevel": 1,
        }  # fmt: skip
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
            for tile in tiles(grid, 1024):
                rows, cols = tile.roi
                window = rasterio.windows.Window.from_slices(rows, cols)
                file.write(land(tile.grid, name).astype(np.float32), 1, window=window)


def ingest(folder, region, grid, names):
    """A region and its layers."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder, grid, [*names, "dem"])
    bands = ",".join(f"{name}={name}.tif" for name in names)
    if not (folder / "carbonmap.toml").exists():
        carbonmap(folder, "init", "--region", region, "--like", "dem.tif")
    carbonmap(folder, "ingest", "image", "--bands", bands, "--date", DAY, "--scale", "1e-4")
    carbonmap(folder, "ingest", "dem", "dem.tif")


def model(folder, kind, *words):
    """A model that has learned a little of a small county."""
    files = ",".join(f"{b}=county/image_{DAY}_{b}.tif" for b in BANDS)
    split = ["--set", "model.split.block_m=1000", "--set", "model.split.buffer_m=100"]
    folder.mkdir(parents=True)
    for command in (
        ["simulate", "county", "--size", SMALL],
        ["init", "--region", "small", "--like", "county/dem.tif"],
        ["ingest", "image", "--bands", files, "--date", DAY, "--scale", "1e-4"],
        ["ingest", "dem", "county/dem.tif"],
        ["ingest", "canopy-height", "county/canopy_height.tif"],
        ["build-labels", "county/inventory.shp", "--volume-field", "HUO_LMGQXJ"],
        ["train", "--model", kind, "--dates", "2020-11", *split, *words, "-o", "model"],
    ):
        carbonmap(folder, *command)
    return folder / "model"


def overhead(folder, size):
    """Ratio of `predict` to the bare model."""
    trained = model(folder / "small", "unet", "--steps", "5")
    grid = county_grid(size, size, crs=config.crs_text("china-albers"))
    place = folder / "large"
    ingest(place, "large", grid, BANDS)
    loaded = checkpoint.load(trained, 1).model
    stack = open_stack(place / "archive", "large", [DAY])
    own = stack_grid(place / "archive", "large")
    parts = list(tiles(own, common.TILE_PX))
    held = [scope.read_layers(stack, own, t.grid, loaded.layers, loaded.halo) for t in parts]
    with Watch() as bare:
        for tile, layers in zip(parts, held, strict=True):
            for _ in loaded.shares(layers, tile.grid, 1):
                pass
    del held
    project = config.load(place / "carbonmap.toml", ["output.threads=1"])
    with Watch() as whole:
        predict.predict(project, "large", own, ["2020-11"], trained, folder / "maps")
    print(f"bare model      {bare}\npredict         {whole}")
    print(
        f"overhead: ratio {whole.wall / bare.wall:.3f} of the wall, "
        f"{whole.cores / bare.cores:.3f} of the cores (target <= 1.10)"
    )


def assembly(folder, size):
    """Ratio of three maps joined and verified to bare copies."""
    grid = county_grid(size, size, crs=config.crs_text("china-albers"))
    names = ("carbon_density", "carbon_density_sd", "carbon_density_low90")
    made = {
        name: MapFile(folder / f"{name}.tif", grid, Layer(name, name, "Mg C ha-1"), {}, "2020-11")
        for name in names
    }
    folder.mkdir(parents=True)
    with output.claim(folder / "made.json", {"stage": "bench"}, output.Existing.REFUSE) as work:
        written = common.compute_tiles(
            grid, made, work, lambda tile: {n: land(tile.grid, n) for n in names}, "tiles"
        )
        with Watch() as ours:
            common.write_maps(grid, made, work, written, None)
        work.finish([one.final for one in made.values()], {})
    copied = 0.0
    for one in made.values():
        plain, copy = folder / "plain.tif", folder / "copy.tif"
        with raster.environment():
            rasterio.shutil.copy(one.final, plain, driver="GTiff", TILED="YES", BIGTIFF="IF_SAFER")
            with Watch() as bare:
                rasterio.shutil.copy(plain, copy, OVERVIEW_RESAMPLING="AVERAGE", **COG)
            copied += bare.wall
    print(f"three maps      {ours}\nbare COG copies {copied:8.1f} s")
    print(f"assembly: ratio {ours.wall / copied:.2f} (target <= 1.3)")


def memory(folder, size):
    """Ratio of the peak memory of a large map to a small one's."""
    trained = model(folder / "small", "ols", "--inputs", "terrain", "--set", "model.radii=[]")
    peaks = []
    for edge in (size // 4, size):
        grid = county_grid(edge, edge, crs=config.crs_text("china-albers"))
        place = folder / str(edge)
        ingest(place, "large", grid, ("red",))
        seconds, peak, _ = carbonmap(
            place, "predict", "--model", trained, "--dates", "2020-11", "--set", "output.threads=2"
        )
        peaks.append(peak)
        print(f"{edge:,} x {edge:,} px: {seconds:,.0f} s, peak memory {peak:,.0f} MB", flush=True)
    print(f"memory: ratio {peaks[1] / peaks[0]:.2f} (target <= 1.2)")


def lattice():
    """Seconds that Yunnan's tiles take."""
    with Watch() as planned:
        grid = region_.grid_of(config.load().find_region("yunnan"))
        number = sum(1 for _ in tiles(grid, common.TILE_PX))
    print(
        f"lattice: {grid.size:,} px of Yunnan, {number:,} tiles in {planned.wall:.2f} s (target 2)"
    )


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="lattice,overhead,assembly")
    parser.add_argument("--size", type=int, help="edge of the large region, px; the parts' own")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            folder = Path(name) / part
            if part == "lattice":
                lattice()
            else:
                function, size = {
                    "overhead": (overhead, 4096),
                    "assembly": (assembly, 8192),
                    "memory": (memory, 16_384),
                }[part]
                function(folder, given.size or size)


if __name__ == "__main__":
    main()
