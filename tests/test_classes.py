import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyRegressor
from sklearn.metrics import r2_score

from carbonmap.classes import DENSITY_EDGES, Classes, Dummy, class_errors, class_of
from carbonmap.errors import GridMismatch, ModelError
from carbonmap.metrics import Errors, errors


def pair(shape, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2, 60, shape)
    prediction = truth + rng.normal(5, 20, shape)
    truth[rng.random(shape) < 0.1] = np.nan
    prediction[rng.random(shape) < 0.1] = np.nan
    return prediction, truth


def test_a_class_holds_its_lower_edge_and_the_last_has_no_end():
    values = np.array([-3.0, 0, 24.999, 25, 299, 300, 1e6])
    assert class_of(values, DENSITY_EDGES).tolist() == [0, 0, 0, 1, 5, 6, 6]


@given(seed=st.integers(0, 30))
def test_classes_part_the_errors_of_the_whole(seed):
    prediction, truth = pair((20, 15), seed)
    found, whole = class_errors(prediction, truth), errors(prediction, truth)
    total = sum(found.errors, Errors())
    assert (total.count, total.missing) == (whole.count, whole.missing)
    assert total.rmse == pytest.approx(whole.rmse, rel=1e-12)
    for low, high, part in zip(
        DENSITY_EDGES, (*DENSITY_EDGES[1:], np.inf), found.errors, strict=True
    ):
        held = (truth >= low) & (truth < high)
        want = errors(prediction[held], truth[held])
        assert part == want


def test_classes_of_tiles_add_up():
    prediction, truth = pair((30, 8))
    whole = class_errors(prediction, truth)
    total = class_errors(prediction[:11], truth[:11]) + class_errors(prediction[11:], truth[11:])
    assert [e.count for e in total.errors] == [e.count for e in whole.errors]
    assert [e.bias for e in total.errors] == pytest.approx([e.bias for e in whole.errors], rel=1e-9)
    with pytest.raises(ModelError, match="use the same"):
        whole + class_errors(prediction, truth, (0.0, 10.0))


def test_the_best_mean_is_biased_by_class_of_truth_and_not_by_its_own():
    rng = np.random.default_rng(4)
    mean = rng.uniform(0, 350, 200_000)
    truth = mean + rng.normal(0, 40, mean.size)
    by_truth, by_mean = class_errors(mean, truth), class_errors(mean, truth, by=mean)
    assert by_truth.errors[-1].bias < -10 < 10 < by_truth.errors[0].bias
    assert all(abs(e.bias) < 1.5 for e in by_mean.errors)


def test_a_value_that_is_not_known_is_in_no_class():
    found = class_errors(np.ones(2), np.ones(2), by=np.array([1.0, np.nan]))
    assert sum(e.count for e in found.errors) == 1


def test_classes_are_json_with_none_for_the_empty():
    rows = class_errors(np.array([1.0]), np.array([2.0])).to_json()["classes"]
    assert (rows[0]["pixels"], rows[0]["bias_mg_c_ha"]) == (1, -1)
    assert (rows[-1]["from_mg_c_ha"], rows[-1]["to_mg_c_ha"]) == (300, None)
    assert rows[-1]["rmse_mg_c_ha"] is None
    json.dumps(Classes((0.0,), (Errors(),)).to_json(), allow_nan=False)


def test_wrong_edges_and_shapes_are_refused():
    for edges in ((), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ModelError, match="rise"):
            class_of(np.zeros(1), edges)
    with pytest.raises(GridMismatch, match="what is classed"):
        class_errors(np.zeros(2), np.zeros(2), by=np.zeros(3))


@given(seed=st.integers(0, 30))
def test_the_dummy_is_scikit_learns_and_never_above_0(seed):
    rng = np.random.default_rng(seed)
    train, test = rng.gamma(2, 50, 40), rng.gamma(3, 40, 30)
    known = DummyRegressor().fit(np.zeros((40, 1)), train).predict(np.zeros((30, 1)))
    found = (Dummy.of(train[:7]) + Dummy.of(np.append(train[7:], np.nan))).errors(test)
    assert found.r2 == pytest.approx(r2_score(test, known), rel=1e-9)
    assert found.r2 < 0
    assert Dummy.of(test).errors(test).r2 == pytest.approx(0, abs=1e-12)


def test_a_dummy_without_labels_knows_nothing():
    assert math.isnan(Dummy().mean)
    assert Dummy().errors(np.ones(3)).count == 0
    assert Dummy().to_json() == {"labels": 0, "mean_mg_c_ha": None}
