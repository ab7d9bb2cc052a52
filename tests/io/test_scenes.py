"""Scenes in the archive: on the region's chunks, whole or not there."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.errors import CorruptData, MissingInput
from carbonmap.io import output, scenes, store
from carbonmap.io.scenes import SceneInfo
from carbonmap.landscape import county_grid
from carbonmap.quality import Quality

REGION = county_grid(70, 90)


def info(grid):
    return SceneInfo(
        "GF1_X", grid, ("blue", "nir"), "2020-08-27T04:01:05+00:00", "WFV3", 20.0, 110.0, 8.8,
        281.0, "surface reflectance",
    )  # fmt: skip


def write(archive, grid, value=0.25):
    """A finished scene of one value."""
    folder = scenes.folder_of(archive, "r", "GF1_X")
    with output.claim(folder / scenes.MARK, {"value": value}) as work:
        image, quality = scenes.create(work.folder / "data.zarr", info(grid))
        for roi in store.chunk_rois(grid.shape, image.chunks):
            for band in range(2):
                data = np.full(grid[roi].shape, value, np.float32)
                store.write_block(image, band, roi, data)
            store.write_block(quality, None, roi, np.zeros(grid[roi].shape, np.uint8))
        (work.folder / "data.zarr").rename(folder / "data.zarr")
        files = [p for p in (folder / "data.zarr").rglob("*") if p.is_file()]
        work.finish(files, {"scene": info(grid).to_json()})
    return folder


def test_what_was_written_is_read_back_with_its_meaning(tmp_path):
    grid = REGION[10:40, 20:60]
    folder = write(tmp_path, grid)
    ((path, held),) = scenes.scenes(tmp_path, "r")
    assert path == folder
    assert held == info(grid)
    assert held.day == "2020-08-27"
    image, quality = scenes.open_scene(folder)
    assert (image[:] == np.float32(0.25)).all()
    assert image.shape == (2, 30, 40)
    assert quality.dtype == np.uint8
    words = json.loads((folder / "data.zarr/quality/zarr.json").read_text())["attributes"]
    assert dict(zip(words["flag_meanings"].split(), words["flag_masks"], strict=True)) == {
        bit.name.lower(): int(bit) for bit in Quality
    }


def test_a_scene_without_its_mark_is_not_there(tmp_path):
    folder = write(tmp_path, REGION)
    (folder / scenes.MARK).unlink()
    assert scenes.scenes(tmp_path, "r") == []
    with pytest.raises(MissingInput, match="ingest gf1"):
        scenes.open_scene(folder)


@pytest.mark.parametrize("harm", ["delete", "cut"])
def test_a_lost_or_cut_chunk_is_told_at_once(tmp_path, harm):
    folder = write(tmp_path, REGION)
    chunk = folder / "data.zarr/image/c/0/0/0"
    chunk.unlink() if harm == "delete" else chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(CorruptData, match="ingest its product again"):
        scenes.open_scene(folder)


def test_a_flipped_bit_is_told_when_it_is_read(tmp_path):
    folder = write(tmp_path, REGION)
    chunk = folder / "data.zarr/image/c/1/0/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 4
    chunk.write_bytes(data)
    image, _ = scenes.open_scene(folder)
    with pytest.raises(CorruptData):
        image[1]


@given(st.data())
def test_a_scene_s_chunks_are_the_region_s(data):
    """Whatever part it reaches: it begins on a chunk, holds the part, and is no larger than that
    takes."""
    edge = 16
    rows = sorted(data.draw(st.lists(st.integers(0, 70), min_size=2, max_size=2, unique=True)))
    cols = sorted(data.draw(st.lists(st.integers(0, 90), min_size=2, max_size=2, unique=True)))
    part = REGION[slice(*rows), slice(*cols)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "CHUNK_PX", edge)
        grid = scenes.reached(REGION, part)
    for span, wanted, size in zip(REGION.roi_of(grid), (rows, cols), REGION.shape, strict=True):
        assert span.start == wanted[0] // edge * edge
        assert span.stop == min(-(-wanted[1] // edge) * edge, size)


def test_infos_survive_json():
    one = info(REGION)
    assert SceneInfo.from_json(json.loads(json.dumps(one.to_json()))) == one
    other = dataclasses.replace(one, sensor="WFV1")
    assert SceneInfo.from_json(other.to_json()) != one


def test_the_view_is_a_plane_over_the_lattice_whatever_part_is_asked_for():
    one = dataclasses.replace(info(REGION), view_slope_deg=(0.01, -0.2))
    whole = one.view_over(REGION)
    assert whole.mean() == pytest.approx(8.8, abs=1)  # of the middle, and never below 0
    assert whole.min() == 0
    assert np.allclose(np.diff(whole[:, 3]), 0.01, atol=1e-5)
    assert np.array_equal(one.view_over(REGION[20:30, 5:50]), whole[20:30, 5:50])


def test_marks_of_other_releases_are_read():
    value = info(REGION).to_json()
    del value["corrections"], value["view_slope_deg"]
    assert SceneInfo.from_json(value | {"new": 1}) == info(REGION)
