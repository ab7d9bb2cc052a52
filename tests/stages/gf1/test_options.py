"""What a user asks of a scene: nothing contradicts itself, and nothing is ignored."""

import dataclasses

import pytest

from carbonmap import config
from carbonmap.errors import ConfigError
from carbonmap.stages.gf1 import SceneOptions


def changed(**given):
    return config.changed(SceneOptions(), **given)


@pytest.mark.parametrize("reference", [None, "2020-08", "2020-08-15"])
def test_a_band_is_of_use_with_a_file_as_reference_only(reference):
    with pytest.raises(ConfigError, match=r"reference_band is the band of a GeoTIFF"):
        changed(reference=reference, reference_band=2)


@pytest.mark.parametrize(("given", "band"), [({}, 1), ({"reference_band": 3}, 3)])
def test_the_band_of_a_reference_is_its_first_until_somebody_says(given, band):
    options = changed(reference="base.tif", **given)
    assert options.band_of_reference == band
    assert not options.reference_is_day


@pytest.mark.parametrize("band", [0, -1])
def test_bands_count_from_one(band):
    with pytest.raises(ConfigError, match="reference_band is"):
        changed(reference="base.tif", reference_band=band)


def test_a_month_and_a_day_are_images_of_the_archive_and_all_else_a_file():
    days = {text: changed(reference=text).reference_is_day for text in
            ("2020-08", "2020-08-15", "2020-08-15.tif", "base.tif", "2020")}  # fmt: skip
    assert [text for text, day in days.items() if day] == ["2020-08", "2020-08-15"]


def test_output_remembers_every_option_but_the_reference_which_it_knows_by_its_content():
    told = changed(reference="base.tif", reference_band=2).to_json()
    names = {field.name for field in dataclasses.fields(SceneOptions)}
    assert set(told) == names - {"reference", "reference_band"}
