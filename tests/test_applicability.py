"""Land unlike what a model learned is told of, land like it is not."""

import numpy as np
import pytest

from carbonmap import applicability
from tests.conftest import MAP

RNG = np.random.default_rng(3)


def test_a_range_holds_all_but_the_last_thousandth_on_either_side():
    x = RNG.permutation(np.arange(100_001.0))[:, None]
    assert applicability.learned_ranges(x, ["nir"])["nir"] == pytest.approx([100.0, 99_900.0])


def test_features_beyond_the_names_are_left_out():
    x = RNG.random((50, 4))
    assert list(applicability.learned_ranges(x, ["a", "b"])) == ["a", "b"]


def test_the_share_outside_is_counted_by_feature():
    ranges = {"a": [0.0, 1.0], "b": [-1.0, 0.5]}
    x = RNG.uniform(-2, 2, (999, 3))
    found = applicability.outside(x, ranges)
    for column, (name, (low, high)) in enumerate(ranges.items()):
        inside = [low <= value <= high for value in x[:, column]]
        assert found[name] == pytest.approx(1 - sum(inside) / len(inside))
    assert len(applicability.warnings(found, ranges)) == 2
    assert applicability.warnings(dict.fromkeys(ranges, applicability.FOREIGN), ranges) == []


def swapped(folder, date):
    """Red and near infrared in each other's place."""
    bands = {"blue": "blue", "green": "green", "red": "nir", "nir": "red"}
    files = ",".join(f"{b}=county/image_{date}_{f}.tif" for b, f in bands.items())
    folder.run("ingest", "image", "--bands", files, "--date", date, "--scale", "1e-4")


def test_swapped_bands_are_told_of(copy, mapped, capsys):
    swapped(copy, "2020-08-15")
    capsys.readouterr()
    copy.run("predict", "--dates", "2020-08", "--model", "models/ols", "-o", "swapped")
    said = capsys.readouterr().out
    assert "warning: " in said
    assert "ndvi outside what the model learned" in said
    told = mapped.json("maps", MAP.replace(".tif", ".json"))["report"]
    assert told["warnings"] == []
    assert max(told["outside_learned_range"].values()) < applicability.FOREIGN
