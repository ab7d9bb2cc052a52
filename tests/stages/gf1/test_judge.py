"""What is decided of a scene as a whole."""

import pytest

from carbonmap.errors import InputError
from carbonmap.stages.gf1 import SceneOptions, scene
from carbonmap.stages.gf1.judge import gases_of
from tests.scenes import RAW, dem, ingest, make, texture


@pytest.mark.parametrize(
    ("lat", "month", "gases"),
    [
        (26.4, 8, "midlatitude_summer"), (26.4, 2, "midlatitude_winter"), (21.5, 2, "tropical"),
        (-30.0, 1, "midlatitude_summer"), (-30.0, 7, "midlatitude_winter"), (0.0, 7, "tropical"),
    ],
)  # fmt: skip
def test_gases_follow_latitude_and_season(lat, month, gases):
    assert gases_of(lat, month) == gases


def test_6s_takes_thick_air_over_deep_valleys_and_tells_no_dark_object_s_notes(tmp_path):
    """3 km of relief: over the lowest land the AOD would pass the table's 1."""
    dem(tmp_path / "archive")
    product = make(tmp_path / "product", texture, sensor="WFV3")
    options = SceneOptions(atmosphere="6s", aod=0.9, clouds="none")
    told = ingest(tmp_path / "archive", product, options=options).data["scenes"][0]
    assert told["atmosphere"] == "6s"
    assert told["gases"] == "midlatitude_summer"
    assert not any("haze" in note for note in told["notes"])


def test_a_sun_near_the_horizon_is_refused(tmp_path, monkeypatch):
    dem(tmp_path / "archive")
    product = make(tmp_path / "product", texture, sensor="WFV3")
    monkeypatch.setattr(scene, "LOWEST_SUN_DEG", 20.0)
    with pytest.raises(InputError, match="leave the scene out"):
        ingest(tmp_path / "archive", product, options=RAW)
    assert not list((tmp_path / "archive").rglob("scene.json"))
