"""Clouds of a scene: found, told in its quality, and the same however the scene is cut."""

import dataclasses
import shutil
import sys

import numpy as np
import pytest

from carbonmap import config, landscape
from carbonmap.calibration import calibrate
from carbonmap.errors import ConfigError, MissingInput, ModelError, OutputExists
from carbonmap.io import store
from carbonmap.io.output import Existing
from carbonmap.landscape import County, county_grid
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.product import county_shot, lean_of
from carbonmap.models import omnicloud
from carbonmap.models.omnicloud import NETWORKS, OVERLAP_PX
from carbonmap.quality import Quality, has
from carbonmap.stages.gf1 import SceneOptions
from carbonmap.stages.simulate_gf1 import write_shot
from tests.models.test_omnicloud import draw_weights
from tests.scenes import RAW, dem, ingest, make, read, table, texture

COUNTY = County()

MONTH = "2020-08"
"""Of the seasons the cloudiest: a quarter of this part of the county."""

HERE = county_grid(256, 272)

CAMERA = camera_over(*landscape.county.HUIZE, "WFV3", 350, 370)

LEAN = lean_of(CAMERA, HERE)

THRESHOLD = dataclasses.replace(RAW, clouds="threshold")

BITS = Quality.CLOUD | Quality.THIN_CLOUD | Quality.CLOUD_SHADOW


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """A hazy, cloudy scene of the county that reaches a little over the grid."""
    taken = county_shot(CAMERA, HERE, COUNTY, MONTH, calibrate(table(), "WFV3", 2020))
    return write_shot(tmp_path_factory.mktemp("product"), taken)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    """An archive with the heights alone. Do not write into it: take `archive`."""
    folder = tmp_path_factory.mktemp("land") / "archive"
    dem(folder, COUNTY, HERE)
    return folder


@pytest.fixture
def archive(land, tmp_path):
    return shutil.copytree(land, tmp_path / "archive")


def found(archive, product, options, existing=Existing.OVERWRITE, **more):
    """Report, image and quality of the scene."""
    report = ingest(archive, product, options=options, grid=HERE, existing=existing, **more)
    grid, image, quality = read(archive)
    assert grid == HERE  # or a truth of the grid would need cutting
    return report.data["scenes"][0], image, quality


def recall_precision(mask, truth):
    both = np.sum(mask & truth)
    return both / truth.sum(), both / mask.sum()


def test_clouds_and_shadows_are_found_at_full_resolution(archive, product):
    """Bounds a little below what was measured: 1.00 and 0.88 of clouds, 0.71 and 0.85 of shadows.

    Clouds are grown by two pixels, which costs precision; shadows fall on relief, and the truth's
    on level land.
    """
    _, _, quality = found(archive, product, SceneOptions())
    seen = ~has(quality, Quality.OUTSIDE)
    cloud = landscape.clouds(HERE, COUNTY, MONTH, LEAN) & seen
    shadow = landscape.shadows(HERE, COUNTY, MONTH) & ~cloud & seen
    assert min(cloud.mean(), shadow.mean()) > 0.1
    recall, precision = recall_precision(has(quality, Quality.CLOUD | Quality.THIN_CLOUD), cloud)
    assert recall > 0.99
    assert precision > 0.85
    dark = has(quality, Quality.CLOUD_SHADOW)
    recall, precision = recall_precision(dark & ~cloud, shadow)
    assert recall > 0.65
    assert precision > 0.8
    assert not np.any(dark & has(quality, Quality.CLOUD))


@pytest.mark.parametrize(("edge", "threads"), [(96, 3), (128, 1)])
def test_the_threshold_detector_does_not_see_blocks_or_threads(
    archive, product, monkeypatch, edge, threads
):
    _, _, quality = found(archive, product, THRESHOLD)
    monkeypatch.setattr(store, "CHUNK_PX", edge)
    _, _, other = found(archive, product, THRESHOLD, threads=threads)
    assert has(quality, BITS).any()
    assert np.array_equal(quality, other)


def test_none_looks_for_no_clouds(archive, product):
    _, image, quality = found(archive, product, dataclasses.replace(RAW, clouds="none"))
    assert not has(quality, BITS).any()
    cloud = landscape.clouds(HERE, COUNTY, MONTH, LEAN)
    assert np.isfinite(image[:, cloud & (quality == 0)]).all()


def test_a_cloud_too_bright_for_the_sensor_is_cloud_and_saturated_and_no_measurement(
    archive, tmp_path
):
    """Its edge aside, where the cubic kernel mixes full counts with land."""

    def within(grid, radius_m):
        y, x = HERE.y[HERE.height // 2], HERE.x[HERE.width // 2]
        return np.hypot(grid.y[:, None] - y, grid.x[None, :] - x) < radius_m

    def values(grid):
        return np.where(within(grid, 480), np.float32(1.2), texture(grid, COUNTY))

    cloudy = make(tmp_path / "product", values, COUNTY)
    ingest(archive, cloudy, options=THRESHOLD, grid=HERE)
    _, image, quality = read(archive)
    assert set(quality[within(HERE, 480 - 2 * 16)]) == {Quality.CLOUD | Quality.SATURATED}
    assert not has(quality, Quality.CLOUD)[~within(HERE, 480 + 5 * 16)].any()
    assert np.isnan(image[:, has(quality, Quality.SATURATED)]).all()


@pytest.fixture
def weights(tmp_path):
    """Files of the right names, for what never opens them."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in NETWORKS:
        (folder / name).write_bytes(b"1")
    return folder


def by_networks(folder, **more):
    return dataclasses.replace(RAW, clouds="omnicloudmask", cloud_weights=folder, **more)


THICK, THIN, DARK = 0.11, 0.09, 0.1
"""Reflectance at which `Networks` change their minds: red, red and NIR."""


class Networks:
    """In the networks' place: what each says of a pixel depends on that pixel alone.

    Args:
        stop_after: of so many blocks the last is never finished.
    """

    def __init__(self, stop_after=None):
        self.seen = []
        self.stop_after = stop_after

    def __call__(self, red, _green, nir, _weights):
        self.seen.append(red.shape)
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        return red > THICK, (red > THIN) & (red <= THICK), nir < DARK


@pytest.fixture
def networks(monkeypatch):
    """Install `Networks` and hand them out."""

    def install(**how):
        fake = Networks(**how)
        monkeypatch.setattr(omnicloud, "cloud_classes", fake)
        monkeypatch.setattr(omnicloud, "find_spec", lambda _: True)
        return fake

    return install


def test_the_networks_classes_become_bits_of_the_very_pixels(archive, product, weights, networks):
    """The image is the same reflectance rounded to 2⁻¹⁴: near a bound both may be right."""
    networks()
    _, image, quality = found(archive, product, by_networks(weights))
    red, nir = image[2], image[3]
    near = [np.abs(v - bound) <= 2**-14 for v, bound in [(red, THICK), (red, THIN), (nir, DARK)]]
    sure = np.isfinite(red) & ~np.any(near, axis=0)
    for bit, says in [
        (Quality.CLOUD, red > THICK),
        (Quality.THIN_CLOUD, (red > THIN) & (red <= THICK)),
        (Quality.CLOUD_SHADOW, nir < DARK),
    ]:
        assert says[sure].any()
        assert np.array_equal(has(quality, bit)[sure], says[sure])
    assert has(quality, Quality.CLOUD)[has(quality, Quality.SATURATED)].any()


def test_the_networks_bits_do_not_depend_on_threads_or_where_a_scene_is_cut(
    archive, product, weights, networks, monkeypatch
):
    whole = networks()
    _, _, quality = found(archive, product, by_networks(weights))
    assert whole.seen == [HERE.shape]
    cut = networks()
    monkeypatch.setattr(store, "CHUNK_PX", 96)
    monkeypatch.setattr(omnicloud, "OVERLAP_PX", 8)
    _, _, other = found(archive, product, by_networks(weights), threads=3)
    assert np.array_equal(quality, other)
    assert cut.seen == [(r, c) for r in (104, 112, 72) for c in (104, 112, 88)]


def test_the_networks_see_as_far_around_a_block_as_their_patches_share(
    archive, product, weights, networks, monkeypatch
):
    """A block of 128 pixels and 300 more on every side is cut at this scene's edge."""
    fake = networks()
    monkeypatch.setattr(store, "CHUNK_PX", 128)
    found(archive, product, by_networks(weights))
    assert OVERLAP_PX == 300
    assert fake.seen == [HERE.shape] * 6


def test_a_sliver_of_a_region_is_widened_until_the_networks_can_see_it(
    tmp_path, product, weights, networks
):
    fake, sliver, archive = networks(), HERE[120:130, 40:240], tmp_path / "archive"
    dem(archive, COUNTY, sliver)
    ingest(archive, product, options=by_networks(weights), grid=sliver)
    assert fake.seen == [(omnicloud.SMALLEST_PX, 200)]
    assert read(archive)[2].shape == (10, 200)


def test_an_interrupted_run_asks_the_networks_only_for_what_is_left(
    archive, product, weights, networks, monkeypatch
):
    monkeypatch.setattr(store, "CHUNK_PX", 128)
    networks(stop_after=5)
    with pytest.raises(KeyboardInterrupt):
        found(archive, product, by_networks(weights), Existing.REFUSE)
    rest = networks()
    _, _, quality = found(archive, product, by_networks(weights), Existing.REFUSE)
    whole = networks()
    _, _, other = found(archive, product, by_networks(weights))
    assert (len(rest.seen), len(whole.seen)) == (2, 6)
    assert np.array_equal(quality, other)


def test_the_light_of_slopes_is_not_learnt_under_the_networks_clouds(
    archive, product, weights, networks, monkeypatch
):
    networks()
    options = by_networks(weights, terrain="c")
    partly, _, _ = found(archive, product, options)
    monkeypatch.setattr(omnicloud, "cloud_classes", lambda r, *_: (r < 9, r > 9, r > 9))
    nowhere, _, _ = found(archive, product, options)
    without, _, _ = found(archive, product, dataclasses.replace(RAW, terrain="c"))
    assert 0 == nowhere["blocks"] < partly["blocks"] < without["blocks"]


def test_without_the_package_nothing_is_begun(archive, product, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "omnicloudmask", None)
    with pytest.raises(ModelError, match=r"pip install 'carbonmap\[clouds\]'"):
        ingest(archive, product, options=by_networks(weights), grid=HERE, keep_going=True)
    assert not list(archive.rglob("*GF1*"))


def test_without_weights_nothing_is_begun(archive, product, weights, monkeypatch):
    monkeypatch.setattr(omnicloud, "find_spec", lambda _: True)
    (weights / next(iter(NETWORKS))).unlink()
    with pytest.raises(MissingInput, match=r"has no PM_model.*huggingface\.co"):
        ingest(archive, product, options=by_networks(weights), grid=HERE, keep_going=True)
    assert not list(archive.rglob("*GF1*"))


@pytest.mark.parametrize("given", [{"clouds": "omnicloudmask"}, {"cloud_weights": "weights"}])
def test_the_networks_and_their_weights_are_asked_for_together(given, tmp_path):
    if "cloud_weights" in given:
        given = {"cloud_weights": tmp_path}
    with pytest.raises(ConfigError, match="go together"):
        config.changed(SceneOptions(), **given)


def test_other_weights_are_other_settings_wherever_they_lie(archive, product, weights, networks):
    networks()
    found(archive, product, by_networks(weights))
    moved = weights.rename(weights.with_name("moved"))
    again = ingest(archive, product, options=by_networks(moved), grid=HERE)
    assert again.data["scenes"][0]["state"] == "up to date"
    (moved / next(iter(NETWORKS))).write_bytes(b"2")
    with pytest.raises(OutputExists, match="cloud_weights"):
        ingest(archive, product, options=by_networks(moved), grid=HERE)


def test_the_real_networks_mark_a_scene(tmp_path):
    """With weights drawn by chance, so that the marks mean nothing; the oracle is one call by hand.

    The scene is one block and nowhere saturated, so its own reflectance gives the same classes; it
    is rounded to 2⁻¹⁴, which may break ties.
    """
    (tmp_path / "drawn").mkdir()
    folder = draw_weights(tmp_path / "drawn")
    plain = make(tmp_path / "product", lambda grid: texture(grid, COUNTY), COUNTY)
    archive, part = tmp_path / "archive", HERE[64:160, 64:168]
    dem(archive, COUNTY, part)
    ingest(archive, plain, options=by_networks(folder), grid=part)
    _, image, quality = read(archive)
    masks = omnicloud.cloud_classes(image[2], image[1], image[3], folder)
    bits = (Quality.CLOUD, Quality.THIN_CLOUD, Quality.CLOUD_SHADOW)
    assert has(quality, BITS).any()
    for mask, bit in zip(masks, bits, strict=True):
        assert np.mean(has(quality, bit) == mask) > 0.995
