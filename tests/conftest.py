"""A small simulated county, and ways to run the command line on it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pytest

from carbonmap import second_image
from carbonmap.cli import main

SIZE = 160
"""Pixels a side: 33 stands, drawn and mapped in seconds."""

FIELDS = ["--volume-field", "HUO_LMGQXJ", "--id-field", "XIAO_BAN"]


MAP = "demo_2020-11_carbon_density.tif"
"""The one map of the mapped county."""

SPLIT = ["--set", "model.split.block_m=500", "--set", "model.split.buffer_m=50"]
"""Blocks that fit into 2.5 km."""


def bands_of(date):
    """The county's image of a day, as ``--bands`` takes it."""
    return ",".join(f"{b}=county/image_{date}_{b}.tif" for b in ("blue", "green", "red", "nir"))


def report(folder, *parts):
    """What the mark of a folder's output tells."""
    return folder.json(*parts)["report"]


def stands_of(folder):
    """The county's inventory."""
    return gpd.read_file(folder.path / "county" / "inventory.shp", encoding="GBK")


class Folder:
    """A project folder in which commands run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *words, code=0):
        """Run a command in this process; its exit code must be `code`, None for any."""
        before = Path.cwd()
        os.chdir(self.path)
        try:
            got = main.main([str(w) for w in words], standalone_mode=False)
        finally:
            os.chdir(before)
        assert code is None or (got or 0) == code, f"{words} ended with {got}"

    def start(self, *words, launch=(sys.executable, "-m", "carbonmap"), **more):
        """Start a command in a process of its own."""
        return subprocess.Popen(
            [*launch, *map(str, words)],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def call(self, *words, **more):
        """Run a command in a process of its own to its end: exit code, stdout, stderr."""
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def json(self, *parts):
        """A JSON file of the folder."""
        return json.loads(self.path.joinpath(*parts).read_text(encoding="utf-8"))

    def products(self, *parts):
        """Every file below a folder by name, with its bytes, unfinished work left out."""
        root = self.path.joinpath(*parts)
        return {
            p.relative_to(root).as_posix(): p.read_bytes()
            for p in sorted(root.rglob("*"))
            if p.is_file() and not any(part.startswith(".") for part in p.relative_to(root).parts)
        }


def smaller_squares(patch):
    """Squares of simulated change of which a county of 160 pixels holds several."""
    for name, value in (("SQUARE_PX", 8), ("RIM_PX", 0)):
        patch.setattr(second_image, name, value)


@pytest.fixture(scope="session")
def ingested(tmp_path_factory):
    """A county whose layers are in the archive. Do not write into it: take `project`."""
    folder = Folder(tmp_path_factory.mktemp("county"))
    folder.run("simulate", "county", "--size", SIZE)
    folder.run("init", "--region", "demo", "--like", "county/dem.tif")
    bands = bands_of("2020-11-15")
    folder.run("ingest", "image", "--bands", bands, "--date", "2020-11-15", "--scale", "1e-4")
    folder.run("ingest", "dem", "county/dem.tif")
    folder.run("ingest", "canopy-height", "county/canopy_height.tif")
    return folder


@pytest.fixture
def project(ingested, tmp_path):
    """A copy of the ingested county to write into."""
    shutil.copytree(ingested.path, tmp_path / "project")
    return Folder(tmp_path / "project")


@pytest.fixture(scope="session")
def labelled(ingested, tmp_path_factory):
    """The county with labels, made in one go. Do not write into it."""
    path = tmp_path_factory.mktemp("labelled") / "project"
    shutil.copytree(ingested.path, path)
    folder = Folder(path)
    folder.run("build-labels", "county/inventory.shp", *FIELDS, "-o", "labels")
    return folder


@pytest.fixture(scope="session")
def mapped(labelled, tmp_path_factory):
    """The county with a model, a map and an evaluation. Do not write into it."""
    path = tmp_path_factory.mktemp("mapped") / "project"
    shutil.copytree(labelled.path, path)
    folder = Folder(path)
    folder.run("train", "--model", "ols", "--dates", "2020-11", *SPLIT, "-o", "models/ols")
    folder.run("predict", "--dates", "2020-11", "--model", "models/ols", "-o", "maps")
    folder.run("evaluate", "maps", "--truth", "labels", "-o", "evaluation")
    return folder


@pytest.fixture
def copy(mapped, tmp_path):
    shutil.copytree(mapped.path, tmp_path / "project")
    return Folder(tmp_path / "project")
