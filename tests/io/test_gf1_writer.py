"""Products on the disk: what was drawn, whole or absent, the same bytes every time."""

import datetime
import tarfile
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from carbonmap.calibration import Calibration
from carbonmap.errors import WriteError
from carbonmap.io.gf1_writer import product_files, write_product
from carbonmap.landscape import Land, camera_over, county_grid, fit_rpc
from carbonmap.landscape.product import Shot

LINES, SAMPLES = 57, 40

CAMERA = camera_over(103.5, 26.4, "WFV2", LINES, SAMPLES)

RPC = fit_rpc(CAMERA)

LAND = Land(
    county_grid(2, 2), lambda g: np.zeros(g.shape), lambda g: np.zeros((4, *g.shape)), -1.0, 1.0
)

SHOT = Shot(
    CAMERA,
    LAND,
    Calibration((0.2,) * 4, (0.0,) * 4, (1500.0,) * 4, 2020),
    datetime.datetime(2020, 8, 15, 3, 40, tzinfo=datetime.UTC),
    24.5,
    115.6,
    26,
)

IMAGE = np.random.default_rng(2).integers(0, 200, (4, LINES, SAMPLES), dtype=np.uint16)
IMAGE += np.array([0, 250, 500, 800], np.uint16)[:, None, None]


def strips(height):
    return (IMAGE[:, at : at + height] for at in range(0, LINES, height))


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as opened:
            return opened.read(), opened.profile, opened.tags(ns="RPC")


def test_the_image_comes_back_as_it_was_drawn(tmp_path):
    product = write_product(tmp_path, SHOT, RPC, strips(10))
    assert product.name == SHOT.name
    image, profile, rpc = read(product / f"{SHOT.name}.tiff")
    assert np.array_equal(image, IMAGE)
    assert (profile["crs"], profile["tiled"], profile.get("compress")) == (None, False, None)
    assert rpc["LINE_OFF"]  # GDAL finds the RPB beside the image
    assert [p.suffix for p in product_files(product)] == [".jpg", ".rpb", ".tiff", ".xml"]
    assert [p.stem for p in product_files(product)] == [SHOT.name] * 4
    assert list(tmp_path.iterdir()) == [product]


def test_the_browse_image_is_a_tenth(tmp_path):
    product = write_product(tmp_path, SHOT, RPC, strips(10))
    image, _, _ = read(product / f"{SHOT.name}.jpg")
    assert image.shape == (3, LINES // 10, SAMPLES // 10)
    means = IMAGE[2::-1, :50].reshape(3, 5, 10, 4, 10).mean(axis=(2, 4)) / 4
    assert np.abs(image - means).mean() < 8  # JPEG


def test_the_bytes_depend_on_the_scene_alone(tmp_path):
    folders = [
        write_product(tmp_path / str(height), SHOT, RPC, strips(height)) for height in (1, 10, 57)
    ]
    first, *others = ({p.name: p.read_bytes() for p in product_files(f)} for f in folders)
    assert all(first == other for other in others)


def test_an_archive_holds_the_same_files_at_its_top(tmp_path):
    folder = write_product(tmp_path, SHOT, RPC, strips(10))
    packed = [write_product(tmp_path / name, SHOT, RPC, strips(10), archive=True) for name in "ab"]
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert packed[0].read_bytes()[4:8] == bytes(4)  # gzip's own time
    assert list(packed[0].parent.iterdir()) == packed[:1] == product_files(packed[0])
    with tarfile.open(packed[0]) as tar:
        held = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
    assert held == {p.name: p.read_bytes() for p in product_files(folder)}


def test_an_interrupted_product_leaves_nothing(tmp_path):
    def broken():
        yield IMAGE[:, :20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_product(tmp_path, SHOT, RPC, broken())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rewrite_keeps_the_old_product(tmp_path):
    product = write_product(tmp_path, SHOT, RPC, strips(10))
    with pytest.raises(WriteError, match="20 of its 57 lines"):
        write_product(tmp_path, SHOT, RPC, [IMAGE[:, :20]])
    assert np.array_equal(read(product / f"{SHOT.name}.tiff")[0], IMAGE)
    assert list(tmp_path.iterdir()) == [product]


def test_what_a_killed_run_left_is_swept_away_by_the_next(tmp_path):
    left = tmp_path / f".{SHOT.name}.partial"
    left.mkdir()
    (left / "half.tiff").write_bytes(b"II*")
    product = write_product(tmp_path, SHOT, RPC, strips(10))
    assert list(tmp_path.iterdir()) == [product]
    assert len(product_files(product)) == 4


def test_a_disk_that_holds_something_else_is_found_out(tmp_path, monkeypatch):
    from carbonmap.io import gf1_writer

    write = gf1_writer._write_image

    def damaged(path, shape, given):
        crc = write(path, shape, given)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        return crc

    monkeypatch.setattr(gf1_writer, "_write_image", damaged)
    with pytest.raises(WriteError, match="does not read back"):
        write_product(tmp_path, SHOT, RPC, strips(10))
    assert list(tmp_path.iterdir()) == []


def test_an_image_too_small_for_a_browse_image_has_none(tmp_path):
    import dataclasses

    tiny = dataclasses.replace(SHOT, camera=dataclasses.replace(CAMERA, lines=5))
    product = write_product(tmp_path, tiny, RPC, [IMAGE[:, :5]])
    assert [p.suffix for p in product_files(product)] == [".rpb", ".tiff", ".xml"]
