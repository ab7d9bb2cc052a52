"""The archive as Datasets: images of different bands do not hinder each other or anything else."""

import numpy as np
import pytest

from carbonmap.errors import MissingInput
from carbonmap.io.store import LayerInfo
from carbonmap.lazy import image_days, open_stack
from carbonmap.stages import scope
from tests.archives import GRID, image, keep


@pytest.fixture
def archive(tmp_path):
    """Canopy height, and two images whose bands and scales differ."""
    keep(tmp_path, LayerInfo("canopy_height", GRID, (), "m", "mean canopy height"), 12)
    keep(tmp_path, image("2020-02-10", ("red", "nir"), scale=1e-4), 100)
    keep(tmp_path, image("2020-05-15", ("blue", "red"), scale=1e-4, offset=-0.1), 200)
    return tmp_path


def test_what_needs_no_image_opens_none(archive):
    stack = open_stack(archive, "demo", dates=())
    assert set(stack.data_vars) == {"canopy_height"}
    assert "time" not in stack.coords
    assert (stack["canopy_height"].values == 12).all()


def test_images_of_other_bands_open_together_and_lack_what_they_lack(archive):
    stack = open_stack(archive, "demo")
    assert stack["band"].values.tolist() == ["red", "nir", "blue"]
    means = stack["image"].mean(("y", "x")).values
    np.testing.assert_array_equal(means, [[100, 101, np.nan], [201, np.nan, 200]])
    assert stack["image"].dtype == np.float32


def test_an_image_by_itself_has_its_own_bands_and_nothing_else(archive):
    stack, day = scope.one_image(archive, "demo", ["2020-05"])
    assert (day, stack["band"].values.tolist()) == ("2020-05-15", ["blue", "red"])
    assert stack["image"].isel(y=0, x=0).values.tolist() == [[200, 201]]


def test_days_are_listed_whatever_the_bands(archive):
    assert scope.image_days(archive, "demo", ["2020-05", "2020-02"]) == [
        "2020-02-10",
        "2020-05-15",
    ]
    assert image_days(archive, "demo", ["2020-01/2020-12"]) == ["2020-02-10", "2020-05-15"]
    with pytest.raises(MissingInput, match=r"no image of 2020-03; images there: 2020-02-10, 2020"):
        scope.image_days(archive, "demo", ["2020-02", "2020-03"])
    keep(archive, image("2020-05-16", ("red",)), 1)
    with pytest.raises(MissingInput, match="several images of one month"):
        scope.image_days(archive, "demo", ["2020-05"])


def test_an_image_says_how_its_values_were_scaled(archive):
    one, _ = scope.one_image(archive, "demo", ["2020-05"])
    assert (one["image"].scale_applied, one["image"].offset_applied) == (1e-4, -0.1)
    both = open_stack(archive, "demo")["image"]
    assert (both.scale_applied, both.offset_applied) == (1e-4, [0.0, -0.1])


def test_no_date_selects_no_image(archive):
    with pytest.raises(MissingInput, match="name one, as in --dates"):
        scope.one_image(archive, "demo", [])
