"""One scene as a Dataset: values, flags, place, and what it was taken with."""

import numpy as np
import pytest

import carbonmap
from carbonmap.errors import CorruptData, MissingInput
from carbonmap.io import scenes
from carbonmap.quality import Quality
from tests import archives
from tests.scene_archives import REGION, Shot, keep, region_grid

GRID = region_grid((70, 80))

QUALITY = np.zeros((70, 80), np.uint8)
QUALITY[:7] = Quality.SATURATED | Quality.CLOUD


@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.random((2, 70, 80)).astype(np.float32)
    image[:, :7] = np.nan
    for name in ("GF1_a", "GF1_b"):
        keep(tmp_path, GRID, Shot(name, image, QUALITY, "2020-08-16", 12.0, corrections="air 6s"))
    return tmp_path


def test_a_scene_opens_as_it_was_kept(archive):
    scene = carbonmap.open_scene(archive, REGION, "GF1_a")
    image, quality = (a[:] for a in scenes.open_scene(archive / REGION / "scenes" / "GF1_a"))
    assert (scene["image"].dims, scene["image"].dtype) == (("band", "y", "x"), np.float32)
    assert (scene["quality"].dims, scene["quality"].dtype) == (("y", "x"), np.uint8)
    assert scene["image"].chunks is not None
    np.testing.assert_array_equal(scene["image"].values, image)
    np.testing.assert_array_equal(scene["quality"].values, quality)
    assert scene["band"].values.tolist() == ["red", "nir"]
    assert scene["image"].attrs["units"] == "1"
    assert scene["image"].attrs["long_name"] == "surface reflectance"


def test_it_says_where_when_and_how(archive):
    scene = carbonmap.open_scene(str(archive), REGION, "GF1_b")
    assert scene.rio.crs == GRID.crs
    assert scene.rio.transform() == GRID.transform
    np.testing.assert_array_equal(scene["x"], GRID.x)
    np.testing.assert_array_equal(scene["y"], GRID.y)
    assert scene["y"].attrs["units"] == "m"
    assert scene.attrs == {
        "id": "GF1_b", "acquired": "2020-08-16T04:00:00+00:00", "sensor": "WFV3",
        "sun_zenith_deg": 30.0, "sun_azimuth_deg": 120.0, "view_zenith_deg": 12.0,
        "view_azimuth_deg": 100.0, "corrections": "air 6s", "region": REGION,
        "carbonmap_grid": str(GRID),
    }  # fmt: skip


def test_the_flags_words_decode_the_flags(archive):
    quality = carbonmap.open_scene(archive, REGION, "GF1_a")["quality"]
    names = dict(
        zip(quality.attrs["flag_meanings"].split(), quality.attrs["flag_masks"], strict=True)
    )
    for name, rows in (("saturated", 7), ("cloud", 7), ("thin_cloud", 0)):
        assert int(((quality & names[name]) > 0).sum()) == rows * 80


def test_what_is_not_there_is_refused_with_what_is(archive):
    with pytest.raises(MissingInput, match=r"'GF1_aa'; did you mean 'GF1_a'\? valid: GF1_a, GF1_b"):
        carbonmap.open_scene(archive, REGION, "GF1_aa")
    with pytest.raises(MissingInput, match=r"region 'dem'; did you mean 'demo'\?.*ingest gf1"):
        carbonmap.open_scene(archive, "dem", "GF1_a")
    with pytest.raises(MissingInput, match="none of its regions has any"):
        carbonmap.open_scene(archive / "nowhere", REGION, "GF1_a")
    (archive / REGION / "scenes/GF1_a/data.zarr/image/c/0/0/0").unlink()
    with pytest.raises(CorruptData, match="has lost or changed"):
        carbonmap.open_scene(archive, REGION, "GF1_a")


def test_folders_of_an_archive_are_no_maps_and_say_what_opens_them(archive, monkeypatch):
    archives.keep(archive, archives.image("2020-02-10", ("red",)), 1)
    monkeypatch.chdir(archive)
    for folder, call in (
        ("demo/scenes/GF1_a", rf"open_scene\('{archive}', 'demo', 'GF1_a'\)"),
        ("demo/scenes/GF1_a/data.zarr", rf"open_scene\('{archive}', 'demo', 'GF1_a'\)"),
        ("demo/image_2020-02-10", rf"open_stack\('{archive}', 'demo'\)"),
    ):
        with pytest.raises(MissingInput, match=f"no map; open it by carbonmap.{call}"):
            carbonmap.open(folder)
    with pytest.raises(MissingInput, match="it is a folder"):
        carbonmap.open(archive)
