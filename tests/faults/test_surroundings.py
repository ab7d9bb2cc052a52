"""Damaged layers, odd names, another installation's data, no network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FIELDS, Folder
from tests.faults.harm import COMMANDS, litter, lose_network, obey_permissions, run

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]

CHUNK = "archive/demo/canopy_height/data.zarr/canopy_height/c/0/0"

LABELS = COMMANDS["build-labels"].words


def test_a_damaged_layer_stops_the_labels_by_its_name_and_ingesting_it_again_mends_it(place, clean):
    """Row 24."""
    chunk = place.path / CHUNK
    whole = chunk.read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
    for bad in (flipped, whole[:half], b"", None):
        chunk.unlink()
        if bad is not None:
            chunk.write_bytes(bad)
        run(place, LABELS).said("canopy_height/data.zarr", "ingest")
        assert place.products("labels") == {}
    assert run(place, ("ingest", "canopy-height", "county/canopy_height.tif")).code == 0
    assert chunk.read_bytes() == whole
    assert run(place, LABELS).code == 0
    assert place.products("labels") == clean["build-labels"]
    assert litter(place.path) == []


def test_a_layer_whose_description_is_damaged_is_named(place):
    path = (place.path / CHUNK).parents[2] / "zarr.json"
    path.write_text(path.read_text()[:99])
    run(place, LABELS).said("canopy_height/data.zarr", "damaged")


def test_an_input_that_may_not_be_read_is_one_message(place):
    """Row 28."""
    for name, words in {
        "inventory.dbf": LABELS,
        "dem.tif": ("ingest", "dem", "county/dem.tif", "--overwrite"),
    }.items():
        (place.path / "county" / name).chmod(0)
        run(place, words, (obey_permissions,)).said("Permission denied", name)
    assert litter(place.path) == []


def chain(folder, region="demo", labels="labels", harm=()):
    """From a county to labels in forked processes, every step of it a success."""
    bands = ",".join(f"{b}=county/image_2020-05-15_{b}.tif" for b in ("red", "nir"))
    for words in [
        ("init", "--region", region, "--like", "county/dem.tif"),
        ("ingest", "image", "--bands", bands, "--date", "2020-05-15"),
        ("ingest", "canopy-height", "county/canopy_height.tif"),
        ("build-labels", "county/inventory.shp", *FIELDS, "-o", labels),
        ("mask", "--method", "threshold", "--dates", "2020-05", "-o", f"{labels}/林 地.tif"),
    ]:
        done = run(folder, words, *harm)
        assert done.code == 0, done.err
    assert len(folder.products(labels)) == 33
    assert litter(folder.path) == []


@pytest.fixture
def county_in(county, tmp_path):
    """A folder of any name with the county's files in it."""

    def make(name):
        folder = Folder(tmp_path / name)
        folder.path.mkdir()
        (folder.path / "county").symlink_to(county.path / "county")
        return folder

    return make


def test_everything_works_with_names_in_chinese_of_240_bytes_with_spaces_and_brackets(county_in):
    """Row 28."""
    chain(county_in("县 数据 ü (1) [x]*"), "会" * 80, "碳 密度" * 24)


@pytest.mark.parametrize("out", ["y" * 256, "y" * 300 + "/labels"])
def test_a_name_that_the_disk_cannot_hold_is_one_message(place, out):
    """Row 28."""
    run(place, (*LABELS[:-1], out)).said("File name too long", "choose a shorter one")


def test_names_that_are_not_utf_8_are_one_message(place, tmp_path):
    """Row 28: what `unzip` leaves of a GBK archive. No library that we use opens them."""
    odd = os.fsdecode("县".encode("gbk"))
    (place.path / odd).symlink_to(place.path / "county")
    for words in [
        ("ingest", "dem", f"{odd}/dem.tif", "--overwrite"),
        ("build-labels", f"{odd}/inventory.shp", *FIELDS),
        (*LABELS[:-1], odd + "1"),
        ("simulate", odd + "2"),
        ("init", "--region", odd, "--like", "county/dem.tif", "--overwrite"),
    ]:
        done = run(place, words)
        done.said("not UTF-8")
        assert len(done.err) < 600
    place.path.rename(tmp_path / odd)
    there = Folder(tmp_path / odd)
    for command in COMMANDS.values():
        run(there, command.words).said("not UTF-8")
    run(there, ("init", "--region", "a", "--like", "county/dem.tif")).said("not UTF-8")


def started(folder, *words, **variables):
    """A command in a process begun from nothing, with other variables in its environment."""
    paths = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "carbonmap", *words],
        cwd=folder.path,
        env=os.environ | paths | variables,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_a_foreign_proj_database_is_one_message_that_sends_to_the_doctor(place):
    """Row 30: a datum would be shifted in silence by a PROJ that finds no database."""
    foreign = {"PROJ_DATA": "/nonexistent", "PROJ_LIB": "/nonexistent"}
    before = place.products()
    done = started(place, "ingest", "dem", "county/dem.tif", "--overwrite", **foreign)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("carbonmap: error: GDAL cannot look up")
    assert "`carbonmap doctor`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert place.products() == before
    assert litter(place.path) == []


@pytest.mark.slow
def test_foreign_gdal_data_change_nothing(place, clean):
    """Row 30."""
    done = started(place, *LABELS, GDAL_DATA="/nonexistent", GDAL_DRIVER_PATH="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert place.products("labels") == clean["build-labels"]


def test_nothing_needs_a_network(county_in):
    """Row 32."""
    chain(county_in("alone"), harm=[(lose_network,)])
