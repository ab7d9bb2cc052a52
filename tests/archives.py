"""Small archives whose layers hold one value each."""

import numpy as np

from carbonmap.grid import Grid
from carbonmap.io import output, store
from carbonmap.io.store import LayerInfo

GRID = Grid.covering((0, 0, 40 * 16, 30 * 16), "EPSG:32648", 16)


def keep(archive, info, value):
    """A finished layer whose every pixel is `value` plus its band's number."""
    folder = archive / "demo" / info.name
    array = store.create(folder / "data.zarr", info)
    for number in range(max(1, len(info.bands))):
        for roi in store.chunk_rois(array.shape, array.chunks):
            data = np.full(GRID[roi].shape, value + number, np.float32)
            store.write_block(array, number if info.bands else None, roi, data)
    output.write_mark(folder / "layer.json", {}, {}, {"layer": info.to_json()})


def image(day, bands, **applied):
    return LayerInfo("image", GRID, bands, "1", "reflectance", day, **applied)
