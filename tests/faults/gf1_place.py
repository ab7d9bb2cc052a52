"""A project of one steep region with its DEM and two small GF-1 products, to hurt."""

import shutil
from pathlib import Path

import numpy as np

from carbonmap import landscape
from carbonmap.io import raster, scenes, store
from tests.conftest import Folder
from tests.faults.harm import run
from tests.scenes import STEEP, make, texture

GRID = landscape.county_grid(120, 120)

EDGE_PX = 64
"""Of a chunk where blocks are to be several: four, and the last ones smaller."""

BARE = ("ingest", "gf1", "--atmosphere", "6s", "--aod", "0.2")
"""The command without products. So few pixels have no dark object, but 6S needs none."""

ALL = (*BARE, "products")


def build(path):
    """The project's folder, with nothing ingested but the DEM."""
    path.mkdir()
    for sensor, number in (("WFV3", 26), ("WFV2", 27)):
        make(path / "products", texture, sensor=sensor, number=number, lines=150, samples=140)
    raster.write_tile(path / "dem.tif", landscape.elevation(GRID, STEEP), GRID, np.nan)
    folder = Folder(path)
    folder.run("init", "--region", "demo", "--like", "dem.tif")
    folder.run("ingest", "dem", "dem.tif", "--heights", "ellipsoid")
    return folder


def products(folder):
    """Folders of the products, by name: that of WFV2 first."""
    return sorted(p for p in (folder.path / "products").iterdir() if p.is_dir())


def part(product, ending):
    """A product's file."""
    return product / f"{product.name}{ending}"


def region(folder):
    """The scenes' folder of the region."""
    return folder.path / "archive" / "demo" / scenes.FOLDER


def marks(folder):
    """Names of the scenes that are declared whole."""
    return sorted(p.parent.name for p in region(folder).rglob(scenes.MARK))


def made(folder):
    """Every file of the finished scenes by name, with its bytes."""
    return folder.products("archive", "demo", scenes.FOLDER)


def left(folder):
    """All that lies where scenes go, hidden or not, but finished scenes."""
    return sorted(
        p.relative_to(region(folder)).as_posix()
        for p in region(folder).rglob("*")
        if not any((q / scenes.MARK).is_file() for q in (p, *p.parents))
    )


def hurt(folder, *harm, words=ALL):
    """The command in a process of its own, with many blocks, to its end."""
    return run(folder, words, (small_chunks,), *harm)


def small_chunks():
    """In the process that is hurt."""
    store.CHUNK_PX = EDGE_PX


def copy_of(folder, path: Path):
    """A copy to hurt."""
    shutil.copytree(folder.path, path)
    return Folder(path)
