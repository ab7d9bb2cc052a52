"""The archive's stores: nothing is lost in silence."""

import dataclasses

import numpy as np
import pytest
import zarr

from carbonmap.errors import CorruptData
from carbonmap.grid import Grid
from carbonmap.io import files, store
from carbonmap.io.store import LayerInfo

GRID = Grid.covering((0, 0, 1500 * 16, 1100 * 16), "EPSG:32648", 16)
INFO = LayerInfo("elevation", GRID, (), "m", "elevation")


@pytest.fixture
def layer(tmp_path):
    path = tmp_path / "data.zarr"
    array = store.create(path, INFO)
    data = np.random.default_rng(0).normal(1500, 300, GRID.shape).astype(np.float32)
    data[:1024, :1024] = np.nan
    for roi in store.chunk_rois(array.shape, array.chunks):
        store.write_block(array, None, roi, data[roi])
    return path, data


def chunks_of(path):
    return sorted(p for p in (path / "elevation" / "c").rglob("*") if p.is_file())


def test_a_layer_reads_back_as_written_even_where_it_is_all_nodata(layer):
    path, data = layer
    assert len(chunks_of(path)) == 4
    np.testing.assert_array_equal(store.open_array(path, "elevation")[:], data)


@pytest.mark.faults
def test_a_resumed_layer_keeps_its_blocks_without_data_and_drops_half_written_ones(tmp_path):
    """Row 3: zarr itself forgets, on opening again, that a block of NaN is to be written."""
    path = tmp_path / "data.zarr"
    store.create(path, INFO)
    half = path / "elevation" / "c" / "0" / "1.0123456789abcdef.partial"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    array = store.create(path, INFO)
    assert not half.exists()
    roi = store.chunk_rois(array.shape, array.chunks)[1]
    key = store.write_block(array, None, roi, np.full((1024, 476), np.nan, np.float32))
    assert (path / "elevation" / key).is_file()


@pytest.mark.faults
def test_a_layer_whose_making_was_cut_short_is_made_anew(tmp_path, monkeypatch):
    """Row 3: between its arrays, none of which a reader may miss."""
    path = tmp_path / "data.zarr"
    making = zarr.Group.create_array

    def stop(group, name, **more):
        if name == "x":
            raise KeyboardInterrupt
        return making(group, name, **more)

    monkeypatch.setattr(zarr.Group, "create_array", stop)
    with pytest.raises(KeyboardInterrupt):
        store.create(path, INFO)
    monkeypatch.undo()
    assert not path.exists()
    store.create(path, INFO)
    assert {p.name for p in path.iterdir()} == {"zarr.json", "elevation", "x", "y", "spatial_ref"}
    assert list(tmp_path.iterdir()) == [path]


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(b"\0" * file.stat().st_size),
    "gone": lambda file: file.unlink(),
    "another shape": lambda file: file.write_bytes(file.read_bytes().replace(b"1500", b"1400")),
}


@pytest.mark.faults
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["zarr.json", "elevation/zarr.json", "x/zarr.json", "x/c/0"])
def test_an_unfinished_layer_that_lost_more_than_chunks_begins_anew(layer, damage, name):
    """Row 5: a power cut leaves files empty, zeroed or gone whose folder was not on the disk."""
    path, _ = layer
    file = path / name
    good = file.read_bytes()
    DAMAGES[damage](file)
    changed = not file.exists() or file.read_bytes() != good
    store.create(path, INFO)
    assert file.read_bytes() == good
    assert chunks_of(path) == [] if changed else len(chunks_of(path)) == 4
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.faults
def test_a_layer_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Row 5."""
    told = []
    monkeypatch.setattr(files, "sync_tree", lambda p: told.append((p.name, p.exists())))
    monkeypatch.setattr(files, "sync_folder", lambda p: told.append((p, path.exists())))
    path = tmp_path / "data.zarr"
    store.create(path, INFO)
    assert told == [(".data.zarr.partial", True), (tmp_path, True)]
    store.create(path, INFO)
    assert len(told) == 2


@pytest.mark.faults
def test_a_missing_chunk_is_an_error_and_never_nodata(layer):
    """Row 24."""
    path, _ = layer
    chunks_of(path)[0].unlink()
    with pytest.raises(CorruptData, match="lost its chunk"):
        store.open_array(path, "elevation")[:10, :10]


@pytest.mark.faults
@pytest.mark.parametrize("place", [0.1, 0.5, 0.95])
def test_a_flipped_bit_is_an_error(layer, place):
    path, _ = layer
    chunk = chunks_of(path)[3]
    raw = bytearray(chunk.read_bytes())
    raw[int(len(raw) * place)] ^= 4
    chunk.write_bytes(raw)
    with pytest.raises(CorruptData, match=r"data\.zarr' is damaged"):
        store.open_array(path, "elevation")[1024:, 1024:]


@pytest.mark.faults
def test_a_block_that_is_not_one_chunk_is_refused(tmp_path):
    """Row 24: two writers of one chunk lose each other's part."""
    array = store.create(tmp_path / "data.zarr", INFO)
    for roi in [(slice(0, 512), slice(0, 1024)), (slice(512, 1100), slice(0, 1024))]:
        with pytest.raises(ValueError, match="not one chunk"):
            store.write_block(array, None, roi, np.zeros((1, 1), np.float32))


def test_a_layer_says_what_it_is_and_reads_back():
    assert LayerInfo.from_json(INFO.to_json()) == INFO
    image = LayerInfo("image", GRID, ("red", "nir"), "1", "reflectance", "2020-08-27")
    assert LayerInfo.from_json(image.to_json()) == image
    scaled = dataclasses.replace(image, scale=1e-4, offset=-0.1)
    assert LayerInfo.from_json(scaled.to_json()) == scaled
    old = {k: v for k, v in image.to_json().items() if k not in ("scale", "offset")}
    assert LayerInfo.from_json(old) == image
    assert (image.name, image.shape) == ("image_2020-08-27", (2, *GRID.shape))
