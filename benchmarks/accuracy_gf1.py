"""How well scenes come back: simulated products over steep land, against their truth.

Prints, for each month: the reflectance RMSE by band on clear land against the flat surface before
and after each correction; recall and precision of clouds and of their shadows; and how far land
lies from where it was taken, with the DEM and with one flat height.

    python benchmarks/accuracy_gf1.py [--size 1000] [--months 2020-02,2020-05,2020-08,2020-11]
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from carbonmap import config, landscape
from carbonmap.calibration import calibrate
from carbonmap.features import BANDS
from carbonmap.io import raster
from carbonmap.io.output import Existing
from carbonmap.io.raster import Source
from carbonmap.io.scenes import open_scene, scenes
from carbonmap.landscape import County, county_grid
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.drawing import Land
from carbonmap.landscape.product import county_shot, lean_of
from carbonmap.quality import Quality, has
from carbonmap.stages.gf1 import SceneOptions, ingest_gf1
from carbonmap.stages.ingest import Warping, ingest_layer
from carbonmap.stages.simulate_gf1 import write_shot

STEPS = {
    "above the atmosphere": SceneOptions(atmosphere="none", terrain="none"),
    "dark object": SceneOptions(atmosphere="dos", terrain="none"),
    "dark object, SCS+C": SceneOptions(atmosphere="dos", terrain="scs+c"),
    "dark object, C": SceneOptions(atmosphere="dos", terrain="c"),
    "6S": SceneOptions(atmosphere="6s", terrain="none"),
    "6S, SCS+C": SceneOptions(atmosphere="6s", terrain="scs+c"),
}
WAVE_PX = 120
"""Of a zigzag of values by which places are known again."""


def shot_of(grid, county, month, sensor):
    """A scene that is somewhat larger than the grid."""
    size = round(grid.width * 1.35)
    camera = camera_over(*landscape.county.HUIZE, sensor, size, size)
    calibration = calibrate(config.builtin("gf1_wfv"), sensor, int(month[:4]))
    return county_shot(camera, grid, county, month, calibration)


def make(archive, grid, product, options):
    """One scene anew; its grid, image and quality."""
    ingest_gf1(archive, "r", grid, [product], options, existing=Existing.OVERWRITE)
    path, info = next((p, i) for p, i in scenes(archive, "r") if i.id == product.name)
    image, quality = open_scene(path)
    return info.grid, image[:], quality[:]


def rms(values):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def reflectance(archive, grid, county, month, product, lean):
    """RMSE by step and band, and clouds' scores."""
    truth = landscape.reflectance(grid, county, month)
    cloud = landscape.clouds(grid, county, month, lean)
    shadow = landscape.shadows(grid, county, month) & ~cloud
    told = {}
    for name, options in STEPS.items():
        part, image, quality = make(archive, grid, product, options)
        rows, cols = grid.roi_of(part)
        clear = (quality == 0) & ~cloud[rows, cols] & ~shadow[rows, cols]
        told[name] = {
            band: rms(image[k][clear] - truth[band][rows, cols][clear])
            for k, band in enumerate(BANDS)
        }
    seen = ~has(quality, Quality.OUTSIDE | Quality.MISSING_LINE)
    found = has(quality, Quality.CLOUD | Quality.THIN_CLOUD)
    dark = has(quality, Quality.CLOUD_SHADOW) & ~cloud[rows, cols]
    scores = {
        "cloud share": float(cloud.mean()),
        "cloud": score(found[seen], cloud[rows, cols][seen]),
        "shadow": score(dark[seen], shadow[rows, cols][seen]),
    }
    return told, scores


def score(found, truth):
    """Recall and precision."""
    both = float((found & truth).sum())
    return {"recall": both / max(truth.sum(), 1), "precision": both / max(found.sum(), 1)}


def geolocation(archive, folder, grid, county, month, sensor):
    """RMSE, px, with the DEM and with the mean height for all land."""

    def zigzag(at):
        phase = np.mod(at, WAVE_PX) / (WAVE_PX / 2)
        off = np.abs(np.mod(at, WAVE_PX / 2) - WAVE_PX / 4)
        return 0.03 + 0.2 * np.abs(phase - 1), off < WAVE_PX / 4 - 6

    def lattice(g):
        at = g.row + np.arange(g.height), g.col + np.arange(g.width)
        return np.meshgrid(*at, indexing="ij")

    def values(g):
        rows, cols = lattice(g)
        level = np.full(g.shape, 0.1)
        return np.stack([zigzag(cols)[0], zigzag(rows)[0], level, level]).astype(np.float32)

    low, high = county.elevation_m
    land = Land(grid, lambda g: landscape.elevation(g, county), values, low, high)
    shot = dataclasses.replace(shot_of(grid, county, month, sensor), land=land, noise_counts=0.0)
    product = write_shot(folder, shot)
    plain = SceneOptions(atmosphere="none", terrain="none", clouds="none")
    mean = float(landscape.elevation(grid, county).mean())
    told = {}
    for name, options in (
        ("with the DEM", plain),
        ("all land at its mean height", dataclasses.replace(plain, flat_height_m=mean)),
    ):
        part, image, quality = make(archive, grid, product, options)
        rows, cols = lattice(part)
        clear = (quality == 0) & zigzag(rows)[1] & zigzag(cols)[1]
        off = [(image - values(part))[k][clear] / (0.2 / (WAVE_PX / 2)) for k in (0, 1)]
        told[name] = rms(np.hypot(*off))
    return told


def main(folder, size, months, sensor):
    """Everything for each month."""
    county = County()
    grid = county_grid(size, size)
    archive = folder / "archive"
    raster.write_tile(folder / "dem.tif", landscape.elevation(grid, county), grid, float("nan"))
    ingest_layer(
        archive, "r", grid, "dem", [Source(folder / "dem.tif")], Warping(), heights="ellipsoid"
    )
    slope = np.hypot(*np.gradient(landscape.elevation(grid, county), grid.pixel_m))
    print(f"{size} x {size} px, mean slope {np.degrees(np.arctan(slope)).mean():.0f} degrees")
    found = {}
    for month in months:
        shot = shot_of(grid, county, month, sensor)
        product = write_shot(folder / month, shot)
        lean = lean_of(shot.camera, grid)
        steps, scores = reflectance(archive, grid, county, month, product, lean)
        print(f"\n{month}: reflectance RMSE on clear land    {'   '.join(BANDS)}")
        for name, by_band in steps.items():
            print(f"  {name:<34} " + "  ".join(f"{v:.4f}" for v in by_band.values()))
        for name in ("cloud", "shadow"):
            print(f"  {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in scores[name].items()))
        found[month] = {"rmse": steps, **scores}
    for one in ("WFV1", "WFV3"):
        off = geolocation(archive, folder / one, grid, county, months[0], one)
        print(f"\n{one}: geolocation RMSE, " + ", ".join(f"{k} {v:.2f} px" for k, v in off.items()))
        found[one] = off
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--months", default="2020-02,2020-05,2020-08,2020-11")
    parser.add_argument("--sensor", default="WFV3")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        told = main(Path(name), given.size, given.months.split(","), given.sensor)
    print(json.dumps(told))
