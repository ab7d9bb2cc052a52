"""Four regressors that see one pixel's features at a time: the first models, and the baselines.

An estimate depends on the pixel's own features alone. Sums run in one fixed order, whatever the
batch or the number of threads, so that a map does not depend on its tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from carbonmap.errors import ModelError, nearest
from carbonmap.features import FeatureSpec, features, strips, valid_pixels
from carbonmap.grid import Grid
from carbonmap.types import Bands, Floats, Raster


@dataclass(frozen=True)
class Recipe:
    """How one kind of regressor is made.

    Args:
        make: from settings to an estimator that has not learned yet.
        settings: its arguments, under scikit-learn's names.
        most: pixels that it learns from at most.
        seeded: whether it takes ``random_state``.
    """

    make: Callable[..., Any]
    settings: Mapping[str, Any]
    most: int
    seeded: bool = True

    def estimator(self, seed: int) -> Any:
        """An estimator that has not learned yet."""
        return self.make(**self.settings, **({"random_state": seed} if self.seeded else {}))


def _standardised(regressor: Callable[..., Any]) -> Callable[..., Pipeline]:
    """The regressor on features of mean 0 and variance 1."""
    return lambda **settings: make_pipeline(StandardScaler(), regressor(**settings))


RECIPES = {
    "ols": Recipe(_standardised(LinearRegression), {}, 300_000, seeded=False),
    "random-forest": Recipe(
        RandomForestRegressor,
        {
            "n_estimators": 100,
            "min_samples_leaf": 5,
            "max_features": 0.2,
            "max_samples": 0.15,  # more pixels in all, fewer a tree: better and faster
        },
        300_000,
    ),
    "svr": Recipe(
        _standardised(SVR), {"C": 100.0, "epsilon": 10.0, "gamma": "scale"}, 6_000, seeded=False
    ),
    "gradient-boosting": Recipe(
        HistGradientBoostingRegressor,
        {
            "max_iter": 400,
            "learning_rate": 0.05,
            "max_leaf_nodes": 15,
            "min_samples_leaf": 200,
            "max_features": 0.3,
            "l2_regularization": 1.0,
            "early_stopping": False,
        },
        300_000,
    ),
}
"""What carbonmap can train, by name. Chosen on held-out blocks of real stands;
benchmarks/bench_models.py measures them."""


@dataclass(frozen=True)
class Regressor:
    """A fitted regressor; one of the things that a `Model` may be.

    Args:
        kind: its name in `RECIPES`.
        spec: the features that it sees.
        estimator: scikit-learn's.
        pixel_m: edge of the pixels that it learned from, m.
        scale: density that counts as 1 on the 0–1 scale, Mg C/ha: the largest one it learned from.
    """

    kind: str
    spec: FeatureSpec
    estimator: Any
    pixel_m: float
    scale: float

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that it needs."""
        return self.spec.layers

    @property
    def halo(self) -> int:
        """Pixels by which its layers must reach beyond the tile."""
        return self.spec.halo

    def predict(self, layers: Bands, grid: Grid) -> Raster:
        """Carbon density of a tile, never below 0; see `carbonmap.models.protocol.Model`."""
        if grid.pixel_m != self.pixel_m:
            raise ModelError(
                f"the model learned from pixels of {self.pixel_m:g} m and the tile has pixels of "
                f"{grid.pixel_m:g} m; train one on these"
            )
        out = np.full(grid.shape, np.nan, np.float32)
        for rows, strip in strips(layers, grid.height, self.halo):
            known = valid_pixels(strip, self.spec)
            if known.any():
                seen = features(strip, self.spec, grid.pixel_m)[:, known].T
                out[rows][known] = estimate(self.estimator, seen)
        return out


def recipe(kind: str) -> Recipe:
    """How a kind of regressor is made.

    Raises:
        ModelError: there is none of that name.
    """
    if kind not in RECIPES:
        raise ModelError(f"model {kind!r} is not known; {nearest(kind, RECIPES)}")
    return RECIPES[kind]


def step_names(estimator: Any) -> list[str]:
    """The classes that an estimator is made of, by which its kind is known."""
    steps = list(estimator) if isinstance(estimator, Pipeline) else [estimator]
    return [type(step).__name__ for step in steps]


def fit(
    kind: str,
    spec: FeatureSpec,
    x: Floats,
    y: Floats,
    pixel_m: float,
    seed: int = 0,
    threads: int | None = None,
) -> Regressor:
    """Learn carbon density from pixels.

    The result depends on the rows and their order, and not on `threads`: a forest's trees are
    grown apart, each from its own seed, and the others add up on one thread.

    Args:
        kind: a name in `RECIPES`.
        spec: the features' spec.
        x: features, float32, ``(pixel, feature)``.
        y: carbon density, Mg C/ha, ``(pixel,)``.
        pixel_m: edge of a pixel, m.
        seed: of what is random in the regressor.
        threads: at most; None for every core.

    Raises:
        ModelError: the kind is unknown, or there are too few pixels or some are not finite.
    """
    estimator = recipe(kind).estimator(seed)
    _require_learnable(x, y, spec)
    if isinstance(estimator, RandomForestRegressor):
        estimator.set_params(n_jobs=threads or -1)
    seen = x.astype(np.float64) if isinstance(estimator, Pipeline) else x
    with _threads().limit(limits=1):
        estimator.fit(seen, y.astype(np.float64))
    if isinstance(estimator, RandomForestRegressor):
        estimator.set_params(n_jobs=None)  # how it was made is no part of what it is
    return Regressor(kind, spec, estimator, pixel_m, float(y.max()) or 1.0)


def _require_learnable(x: Floats, y: Floats, spec: FeatureSpec) -> None:
    wide = len(spec.names)
    if len(x) < wide:
        raise ModelError(
            f"there are {len(x)} pixels to learn {wide} features from; give more stands, lower "
            f"labels.min_coverage, or check that labels and layers overlap"
        )
    if x.shape != (len(y), wide) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ModelError(
            f"features of shape {x.shape} and densities of shape {y.shape} should be finite, of "
            f"shapes (pixel, {wide}) and (pixel,)"
        )


def estimate(estimator: Any, x: Floats) -> Floats:
    """Carbon density of pixels, Mg C/ha, ``(pixel,)``; what falls below 0 becomes 0.

    Each kind goes the way on which a pixel's figure is the same in any batch:

    - OLS adds one feature after the other, since a matrix product's rounding depends on its shape;
    - a forest adds one tree after the other, since scikit-learn adds them as its threads finish;
    - SVR and boosting work pixel by pixel in scikit-learn.

    Args:
        estimator: as `fit` left it.
        x: features, float32, ``(pixel, feature)``, finite.
    """
    if not len(x):
        return np.empty(0)
    if isinstance(estimator, RandomForestRegressor):
        total = _forest(estimator, x)
    elif isinstance(estimator, HistGradientBoostingRegressor):
        with _threads().limit(limits=1, user_api="openmp"):  # tiles run side by side already
            total = estimator.predict(x)
    elif isinstance(estimator[-1], LinearRegression):
        total = _linear(estimator[0], estimator[-1], x)
    else:
        total = estimator.predict(x.astype(np.float64))
    return np.maximum(total, 0.0)


@lru_cache
def _threads() -> Any:
    """What holds the native threads of BLAS and OpenMP down; finding them takes milliseconds."""
    return threadpoolctl.ThreadpoolController()


def _forest(forest: RandomForestRegressor, x: Floats) -> Floats:
    rows = np.ascontiguousarray(x, np.float32)
    total = np.zeros(len(x))
    for tree in forest.estimators_:
        total += tree.tree_.predict(rows)[:, 0]
    return total / len(forest.estimators_)


def _linear(scaler: StandardScaler, line: LinearRegression, x: Floats) -> Floats:
    total = np.full(len(x), float(line.intercept_))
    for column, mean, spread, slope in zip(
        x.T, scaler.mean_, scaler.scale_, line.coef_, strict=True
    ):
        total += (column.astype(np.float64) - mean) / spread * slope
    return total
