import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from carbonmap.errors import ModelError
from carbonmap.features import FeatureSpec
from carbonmap.models import persist
from carbonmap.models.regressors import RECIPES, estimate, fit
from tests.tampering import Bomb

SPEC = FeatureSpec(inputs=("image",), radii=(), indices=False)

X = np.random.default_rng(0).uniform(0, 1, (400, 4)).astype(np.float32)
Y = 100 * X[:, 0].astype(np.float64)


def learnt(kind):
    return fit(kind, SPEC, X, Y, 30.0, threads=1).estimator


@pytest.mark.parametrize("kind", RECIPES)
def test_an_estimator_comes_back_with_every_bit(kind):
    estimator = learnt(kind)
    found = persist.from_bytes(persist.to_bytes(estimator), "model")
    assert estimate(found, X).tobytes() == estimate(estimator, X).tobytes()


@pytest.mark.parametrize("kind", RECIPES)
def test_the_same_training_gives_the_same_bytes(kind):
    assert persist.to_bytes(learnt(kind)) == persist.to_bytes(learnt(kind))


def test_another_process_writes_the_same_bytes():
    code = (
        "import hashlib; from tests.models.conftest import RECIPES, smaller;"
        "from tests.models.test_persist import learnt, persist;"
        "RECIPES['random-forest'] = smaller('random-forest');"
        "print(hashlib.sha256(persist.to_bytes(learnt('random-forest'))).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    mine = hashlib.sha256(persist.to_bytes(learnt("random-forest"))).hexdigest()
    assert done.stdout.strip() == mine


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_in_disguise_is_refused_and_does_not_run(tmp_path, protocol):
    data = pickle.dumps(Bomb(tmp_path / "trace"), protocol)
    with pytest.raises(ModelError, match="not in skops' format"):
        persist.from_bytes(data, "model.skops")
    assert not (tmp_path / "trace").exists()


def test_a_type_that_could_run_code_is_refused_by_name():
    data = skops.io.dumps(FunctionTransformer(func=hashlib.sha256))
    with pytest.raises(ModelError, match=r"could run code: .*hashlib"):
        persist.from_bytes(data, "model.skops")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share):
    data = persist.to_bytes(learnt("ols"))
    with pytest.raises(ModelError, match=r"model\.skops"):
        persist.from_bytes(data[: int(len(data) * share)], "model.skops")


def repacked(data, change):
    """The archive with its members changed by name."""
    source, out = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return out.getvalue()


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(persist, "MOST_BYTES", 1000)
    with pytest.raises(ModelError, match="unpacks to"):
        persist.from_bytes(persist.to_bytes(learnt("ols")), "model.skops")


def test_an_archive_without_a_schema_is_refused():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("other.json", json.dumps({}))
    with pytest.raises(ModelError, match="cannot be read as a model"):
        persist.from_bytes(data.getvalue(), "model.skops")


@pytest.mark.parametrize("kind", ["random-forest", "gradient-boosting"])
@pytest.mark.parametrize("wrong", ["child ahead of the end", "circle", "feature"])
def test_a_tree_that_would_be_walked_outside_its_arrays_is_refused(kind, wrong):
    estimator = learnt(kind)
    forest = kind == "random-forest"
    left, _, feature = persist.NODE_FIELDS[0 if forest else 1]

    def change(name, content):
        if not name.endswith(".npy"):
            return content
        nodes = np.load(io.BytesIO(content), allow_pickle=False)
        if left not in (nodes.dtype.names or ()) or len(nodes) < 3:
            return content
        place, value = {
            "child ahead of the end": (left, len(nodes)),
            "circle": (left, 0),
            "feature": (feature, 4),
        }[wrong]
        nodes[place][0] = value
        out = io.BytesIO()
        np.save(out, nodes)
        return out.getvalue()

    data = persist.to_bytes(estimator)
    persist.from_bytes(repacked(data, lambda _, content: content), "model.skops")
    with pytest.raises(ModelError, match="points outside itself"):
        persist.from_bytes(repacked(data, change), "model.skops")
