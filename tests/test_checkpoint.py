import pickle

import numpy as np
import pytest

from carbonmap import checkpoint
from carbonmap.checkpoint import MARK, WEIGHTS
from carbonmap.errors import CarbonmapError, ModelError
from carbonmap.features import FeatureSpec
from carbonmap.grid import Grid
from carbonmap.io import files, output
from carbonmap.models.regressors import fit
from tests.tampering import Bomb, change_card, replace_weights, told

SPEC = FeatureSpec(inputs=("image", "terrain"), radii=(1,))
GRID = Grid("EPSG:32612", 30.0, 0, 0, 12, 9)


def learnt(kind="ols", spec=SPEC):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (300, len(spec.names))).astype(np.float32)
    return fit(kind, spec, x, 100 * x[:, 0].astype(np.float64), 30.0, threads=1)


def write(folder, model, **more):
    """A model folder as `train` writes one."""
    weights = checkpoint.write_weights(folder, model)
    held = {WEIGHTS: files.describe(weights)}
    card = checkpoint.card(model) | told(model.spec.pixel_names) | more
    output.write_mark(folder / MARK, {"stage": "train"}, held, card)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, learnt(), carbonmap="0.1.0")


@pytest.mark.parametrize("kind", ["ols", "svr"])
def test_a_model_predicts_the_same_bytes_after_a_trip_to_the_disk(tmp_path, kind):
    model = learnt(kind)
    found = checkpoint.load(write(tmp_path, model))
    rng = np.random.default_rng(1)
    shape = GRID.padded(model.halo).shape
    layers = {name: rng.uniform(0, 1, shape).astype(np.float32) for name in model.layers}
    want = model.predict(layers, GRID)
    assert found.model.predict(layers, GRID).tobytes() == want.tobytes()
    assert (found.model.layers, found.model.halo) == (model.layers, model.halo)
    assert (found.model.pixel_m, found.model.scale) == (30.0, model.scale)
    assert found.sha256 == files.sha256(tmp_path / WEIGHTS)


def test_what_train_adds_to_the_card_comes_back(folder):
    assert checkpoint.load(folder).card["carbonmap"] == "0.1.0"


@pytest.mark.parametrize("name", [MARK, WEIGHTS])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        checkpoint.load(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        checkpoint.load(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", [MARK, WEIGHTS])
def test_a_truncated_file_is_refused(folder, name, share):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=name):
        checkpoint.load(folder)


def test_every_flipped_bit_of_the_weights_is_found(folder):
    data = (folder / WEIGHTS).read_bytes()
    for at in np.random.default_rng(0).integers(0, 8 * len(data), 60):
        broken = bytearray(data)
        broken[at // 8] ^= 1 << at % 8
        (folder / WEIGHTS).write_bytes(broken)
        with pytest.raises(ModelError, match=WEIGHTS):
            checkpoint.load(folder)


def test_weights_of_another_model_are_refused(folder, tmp_path):
    other = write(tmp_path / "other", learnt("svr"))
    (folder / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="gone or changed since"):
        checkpoint.load(folder)
    replace_weights(folder / WEIGHTS, (other / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="SVR"):
        checkpoint.load(folder)


def test_weights_for_other_features_are_refused(folder, tmp_path):
    other = write(tmp_path / "other", learnt(spec=FeatureSpec(inputs=("image",))))
    replace_weights(folder / WEIGHTS, (other / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="features"):
        checkpoint.load(folder)


def test_a_pickle_in_disguise_does_not_run_even_where_its_hash_agrees(folder):
    replace_weights(folder / WEIGHTS, pickle.dumps(Bomb(folder / "trace")))
    with pytest.raises(ModelError, match="could run code"):
        checkpoint.load(folder)
    assert not (folder / "trace").exists()


def test_a_newer_format_is_refused_with_the_version_that_wrote_it(folder):
    change_card(folder, lambda c: c.update(model_format=checkpoint.FORMAT + 1, carbonmap="9.9"))
    with pytest.raises(ModelError, match=r"9\.9"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "random-tree"}, "did you mean 'random-forest'"),
        ({"kind": ["ols"]}, "kind"),
        ({"features": {"inputs": ["radar"]}}, "radar"),
        ({"features": {"windows": [2]}}, "windows"),
        ({"features": None}, "features"),
        ({"features": {}}, r"'features\.inputs' is missing"),
        ({"features": {"inputs": ["image", "terrain"], "radii": [2]}}, "other features"),
        ({"pixel_m": "wide"}, "wide"),
        ({"pixel_m": "30"}, "pixel_m is '30'"),
        ({"pixel_m": 10**400}, "pixel_m"),
        ({"label_scale_mg_c_ha": 0}, "label_scale_mg_c_ha is 0"),
        ({"label_scale_mg_c_ha": float("nan")}, "label_scale_mg_c_ha is nan"),
        ({"label_range_mg_c_ha": 3}, "label_range_mg_c_ha is 3"),
        ({"label_range_mg_c_ha": [0.0]}, "label_range_mg_c_ha"),
        ({"feature_ranges": {}}, "feature_ranges"),
        ({"feature_ranges": {"blue": [0.0, 1.0]}}, "feature_ranges"),
        ({"feature_ranges": {"blue": 1.0}}, r"feature_ranges\.blue is 1\.0"),
        ({"image_scale": [0.0001]}, "image_scale"),
        ({"image_scale": ["small", 0.0]}, "'small'"),
        ({"image_scale": [float("inf"), 0.0]}, "image_scale.0 is inf"),
        ({"profile": None}, "profile is None"),
        ({"pools": ["trees"]}, "pools"),
        ({"split": None}, "split"),
        ({"split": {"seed": 0}}, r"'split\.buffer_m' is missing"),
        ({"split": {"buffer_m": "wide"}}, "buffer_m is 'wide'"),
        ({"inputs": None}, "inputs"),
        ({"parameters": "many"}, "parameters is 'many'"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"network": 3}, "network"),
        ({"model_format": "1"}, "formats"),
    ],
)
def test_a_card_that_cannot_be_understood_says_where(folder, changes, says):
    change_card(folder, lambda c: c.update(changes))
    with pytest.raises(ModelError, match=says) as caught:
        checkpoint.load(folder)
    assert MARK in str(caught.value)


@pytest.mark.parametrize(
    "key",
    ["kind", "features", "feature_names", "pixel_m", "label_scale_mg_c_ha", "label_range_mg_c_ha",
     "feature_ranges", "image_scale", "profile", "pools", "split"],
)  # fmt: skip
def test_a_card_without_an_entry_says_which(folder, key):
    change_card(folder, lambda c: c.pop(key))
    with pytest.raises(ModelError, match=f"'{key}' is missing") as caught:
        checkpoint.load(folder)
    assert MARK in str(caught.value)


@pytest.mark.parametrize("key", ["inputs", "mask", "min_coverage"])
def test_what_older_cards_lack_they_may_lack(folder, key):
    change_card(folder, lambda c: c.pop(key))
    assert key not in checkpoint.load(folder).card


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 1, "report": 3}', '{"files": {}}', "no"])
def test_another_json_file_is_no_card(tmp_path, text):
    (tmp_path / MARK).write_text(text)
    with pytest.raises(CarbonmapError, match=MARK):
        checkpoint.load(tmp_path)


def test_writing_weights_twice_gives_the_same_file(tmp_path):
    first = checkpoint.write_weights(tmp_path, learnt()).read_bytes()
    assert checkpoint.write_weights(tmp_path, learnt()).read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [WEIGHTS]
