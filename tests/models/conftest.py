"""The same regressors with fewer trees, so that a test takes a moment."""

import dataclasses

import pytest

from carbonmap.models.regressors import RECIPES

LESS = {
    "random-forest": {"n_estimators": 7},
    "gradient-boosting": {"max_iter": 30, "min_samples_leaf": 10},
}


def smaller(kind):
    """The recipe with fewer trees."""
    known = RECIPES[kind]
    return dataclasses.replace(known, settings={**known.settings, **LESS[kind]})


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    for kind in LESS:
        monkeypatch.setitem(RECIPES, kind, smaller(kind))
