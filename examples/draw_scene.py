"""Draw a GF-1 scene before and after: raw counts, surface reflectance on the grid, and quality.

python examples/draw_scene.py county/gf1/GF1_… archive county scene.png
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.errors import NotGeoreferencedWarning

from carbonmap.io.scenes import open_scene, scenes
from carbonmap.quality import Quality

FALSE_COLOURS = (3, 2, 1)
"""Near infrared, red and green as red, green and blue: plants are red."""

WHITE = np.array([0.5, 0.22, 0.22])[:, None, None]
"""Reflectance that is shown full: near infrared, red, green."""

COLOURS = {
    Quality.TERRAIN_SHADOW: "#8c6d46",
    Quality.CLOUD_SHADOW: "#3b4cc0",
    Quality.THIN_CLOUD: "#b8d8e8",
    Quality.CLOUD: "#e8e8e8",
    Quality.SATURATED: "#f4d35e",
    Quality.ZERO: "#c1121f",
    Quality.MISSING_LINE: "#780000",
    Quality.OUTSIDE: "#000000",
}
"""Later ones hide earlier ones, as nodata hides what is only doubtful."""

CLEAR = "#5f7f5f"


def raw_counts(product):
    """The image as it was shipped, rows and columns of the sensor, at most 800 wide."""
    path = next(p for p in sorted(product.iterdir()) if p.suffix.lower() in (".tif", ".tiff"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, driver="GTiff") as source:
            step = max(1, source.width // 800)
            shape = (3, source.height // step, source.width // step)
            data = source.read([b + 1 for b in FALSE_COLOURS], out_shape=shape)
    bright = np.percentile(data, 90, axis=(1, 2))[:, None, None]
    return np.moveaxis((data / bright).clip(0, 1), 0, -1)


def classes(quality):
    """Quality as a picture."""
    picture = np.full(quality.shape, CLEAR, dtype=object)
    for bit, colour in COLOURS.items():
        picture[(quality & int(bit)) > 0] = colour
    names, where = np.unique(picture.ravel().astype(str), return_inverse=True)
    table = np.array([[int(n[i : i + 2], 16) for i in (1, 3, 5)] for n in names], np.uint8)
    return table[where].reshape(*quality.shape, 3), set(names)


def main(product, archive, region, out):
    """Draw one scene of a region."""
    folder, info = next((p, i) for p, i in scenes(archive, region) if i.id == product.name)
    image, quality = open_scene(folder)
    step = max(1, info.grid.width // 800)
    shown = np.nan_to_num(image[:][list(FALSE_COLOURS)][:, ::step, ::step] / WHITE)
    picture, used = classes(quality[:][::step, ::step])
    left, bottom, right, top = (b / 1000 for b in info.grid.bounds)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, 3)
    axes[0].imshow(raw_counts(product))
    axes[0].set(title="as shipped: counts", xlabel="sample, px", ylabel="line, px")
    for one, data, title in (
        (axes[1], np.moveaxis(shown.clip(0, 1) ** 0.8, 0, -1), info.long_name),
        (axes[2], picture, "quality"),
    ):
        one.imshow(data, extent=(left, right, bottom, top), interpolation="nearest")
        one.set(title=title, xlabel="easting, km", ylabel="northing, km")
        one.ticklabel_format(useOffset=False)
    words = {CLEAR: "clear"} | {c: b.name.lower().replace("_", " ") for b, c in COLOURS.items()}
    handles = [Patch(color=c, label=w) for c, w in words.items() if c in used]
    axes[2].legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    figure.suptitle(f"{info.id}, {info.day}: near infrared, red, green")
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
