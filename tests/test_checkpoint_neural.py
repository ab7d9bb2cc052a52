"""Networks in model folders: what comes back, and what is refused by name."""

import dataclasses
import json
import pickle
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from carbonmap import checkpoint
from carbonmap.checkpoint import MARK, neural
from carbonmap.checkpoint.families import FAMILIES, build, family_of
from carbonmap.checkpoint.layout import NETWORK
from carbonmap.checkpoint.tensors import MOST_HEADER, read, write
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.io import files, output
from carbonmap.learning.regression import Regression
from carbonmap.models.neural import Neural, ready
from carbonmap.networks.rival_specs import GanSpec, VaeSpec
from carbonmap.networks.specs import UnetSpec
from carbonmap.networks.unet import Unet
from carbonmap.normalise import Inputs, Normalisation
from tests.learners import narrow
from tests.tampering import Bomb, change_card, replace_weights, told

INPUTS = Inputs(("image", "terrain"))
BANDS = len(INPUTS.channels)
NORM = Normalisation(tuple(range(BANDS - 1)), (20.0,) * (BANDS - 1))
GRID = Grid("EPSG:32612", 30.0, 3, 5, 30, 20)

TINY = narrow(BANDS)
SPECS = {
    "unet": {"network": UnetSpec(BANDS, (4, 8))},
    "iidm": {"network": TINY, "diffusion": DiffusionSpec(steps=2)},
    "iidm-residual": {
        "mean": UnetSpec(BANDS, (4, 8)),
        "residual": dataclasses.replace(TINY, bands=BANDS + 1),
        "diffusion": DiffusionSpec(steps=2),
    },
    "vae": {"network": VaeSpec(BANDS, (4, 8), latent=2)},
    "gan": {"network": GanSpec(BANDS, (4, 8), discriminator=(4, 8))},
}


HALF = (torch.bfloat16, torch.float16)
WIDE = (torch.float32, torch.float64)


def learnt(family="unet"):
    torch.manual_seed(1)
    return build(family, SPECS[family])


def model(learner, **more):
    return Neural(learner, INPUTS, NORM, 16, 30.0, 250.0, **more)


def header(dtype, shape, size):
    """A safetensors file with one tensor of so many bytes, all 0."""
    entry = {"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
    text = json.dumps(entry).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def write_folder(folder, learner, storage="float32", **more):
    """A model folder as `train` writes one."""
    weights = neural.write(folder, learner, storage)
    held = {NETWORK: files.describe(weights)}
    card = neural.card(model(learner, samples=2, seed=7), storage)
    facts = card | told(INPUTS.features.pixel_names) | more
    output.write_mark(folder / MARK, {"stage": "train"}, held, facts)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path, learnt(), carbonmap="0.1.0")


def land(one):
    rng = np.random.default_rng(0)
    shape = GRID.padded(one.halo).shape
    return {name: rng.uniform(0, 100, shape).astype(np.float32) for name in one.layers}


def test_every_family_has_an_example_here():
    assert set(SPECS) == set(FAMILIES)


@pytest.mark.parametrize("family", sorted(SPECS))
def test_a_network_predicts_the_same_bytes_after_a_trip_to_the_disk(tmp_path, family):
    learner = learnt(family)
    assert family_of(learner) == family
    before = model(ready(learner), samples=2, seed=7)
    found = checkpoint.load(write_folder(tmp_path, learner))
    want = before.predict(land(before), GRID)
    assert want.std() > 0
    assert found.model.predict(land(before), GRID).tobytes() == want.tobytes()
    assert found.card["kind"] == family
    assert found.sha256 == files.sha256(tmp_path / NETWORK)
    for name in ("inputs", "norm", "tile_px", "pixel_m", "scale", "samples", "seed"):
        assert getattr(found.model, name) == getattr(before, name)
    if "diffusion" in SPECS[family]:
        assert found.model.learner.spec == SPECS[family]["diffusion"]


def test_loading_leaves_torchs_own_generator_as_it_was(folder):
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    checkpoint.load(folder)
    assert torch.equal(torch.rand(2), want)


def test_threads_reach_the_network(folder):
    assert checkpoint.load(folder, threads=3).model.threads == 3


@pytest.mark.parametrize(("storage", "error"), [("bfloat16", 2**-7), ("float16", 2**-10)])
def test_half_storage_halves_the_file_and_moves_weights_by_its_rounding(tmp_path, storage, error):
    learner = build("unet", {"network": UnetSpec(BANDS, (16, 32))})
    whole = neural.write(tmp_path / "whole", learner).stat().st_size
    found = checkpoint.load(write_folder(tmp_path / "half", learner, storage))
    assert (tmp_path / "half" / NETWORK).stat().st_size < 0.6 * whole
    assert found.card["network"]["storage"] == storage
    for name, value in load((tmp_path / "half" / NETWORK).read_bytes()).items():
        own = learner.network.state_dict()[name]
        exact = value.dim() < 2
        assert (value.dtype == own.dtype) == exact
        torch.testing.assert_close(value.to(own.dtype), own, rtol=0 if exact else error, atol=1e-7)
    assert {p.dtype for p in found.model.learner.network.parameters()} == {torch.float32}


def test_writing_twice_gives_the_same_bytes(tmp_path):
    first = neural.write(tmp_path, learnt()).read_bytes()
    assert neural.write(tmp_path, learnt()).read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [NETWORK]


@pytest.mark.parametrize(("value", "storage"), [(np.nan, "float32"), (1e6, "float16")])
def test_weights_that_are_not_finite_are_not_written(tmp_path, value, storage):
    learner = learnt()
    with torch.no_grad():
        next(learner.network.parameters())[0] = value
    with pytest.raises(ModelError, match="not finite"):
        neural.write(tmp_path, learner, storage)
    assert not list(tmp_path.iterdir())


def test_an_older_reader_knows_that_it_cannot_read_a_network(folder):
    assert json.loads((folder / MARK).read_text())["report"]["model_format"] == 2


def test_a_newer_format_is_refused_with_the_version_that_wrote_it(folder):
    change_card(folder, lambda c: c.update(model_format=checkpoint.FORMAT + 1, carbonmap="9.9"))
    with pytest.raises(ModelError, match=r"9\.9"):
        checkpoint.load(folder)


@pytest.mark.parametrize("kept", [0, 7, 8, 200, -1])
def test_a_truncated_file_is_refused_by_its_hash_and_where_that_agrees(folder, kept):
    data = (folder / NETWORK).read_bytes()[:kept]
    (folder / NETWORK).write_bytes(data)
    with pytest.raises(ModelError, match="changed since"):
        checkpoint.load(folder)
    replace_weights(folder / NETWORK, data)
    with pytest.raises(ModelError, match=NETWORK):
        checkpoint.load(folder)


@pytest.mark.parametrize("made", ["pickle", "torch"])
def test_a_pickle_in_disguise_does_not_run(folder, tmp_path, made):
    bomb = Bomb(tmp_path / "trace")
    if made == "pickle":
        data = pickle.dumps(bomb)
    else:
        torch.save({"weight": bomb}, tmp_path / "torch.pt")
        data = (tmp_path / "torch.pt").read_bytes()
    replace_weights(folder / NETWORK, data)
    with pytest.raises(ModelError, match="could run code"):
        checkpoint.load(folder)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<Q", MOST_HEADER + 1) + b"{" * (MOST_HEADER + 1), "header would have"),
        (struct.pack("<Q", 2**63) + b"{}", "header would have"),
        (struct.pack("<Q", 100) + b"{}", "header would have"),
        (struct.pack("<Q", 4) + b"{[}]", "no JSON"),
        (struct.pack("<Q", 1000) + b"[" * 1000, "no JSON"),
        (struct.pack("<Q", 2) + b"[]", "no table"),
        (struct.pack("<Q", 2) + b"{}", "lacks"),
        (struct.pack("<Q", 9) + b'{"a": {}}', "cannot be read"),
    ],
)  # fmt: skip
def test_an_absurd_header_is_refused(folder, data, says):
    replace_weights(folder / NETWORK, data)
    with pytest.raises(ModelError, match=says):
        checkpoint.load(folder)


def other(state, how):
    name = max((n for n, v in state.items() if v.dim() == 4), key=lambda n: state[n].numel())
    if how == "missing":
        del state[name]
    elif how == "extra":
        state["more"] = torch.zeros(1)
    elif how == "shape":
        state[name] = state[name][:1].clone()
    elif how == "dtype":
        state[name] = state[name].double()
    else:
        state[name][0, 0, 0, 0] = torch.nan
    return state


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "lacks"),
        ("extra", "holds more, which"),
        ("shape", "its card's network has torch.float32"),
        ("dtype", "as torch.float64"),
        ("nan", "not finite"),
    ],
)
def test_weights_that_are_not_the_cards_are_refused_by_name(folder, how, says):
    replace_weights(folder / NETWORK, save(other(load((folder / NETWORK).read_bytes()), how)))
    with pytest.raises(ModelError, match=says):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("F8_E4M3", 4), ("F8_E5M2", 4), ("U16", 8), ("C64", 32), ("U8", 4), ("I32", 16), ("X", 4)],
)
def test_a_type_that_no_weights_have_is_refused_by_name(folder, dtype, size):
    replace_weights(folder / NETWORK, header(dtype, [2, 2], size))
    with pytest.raises(ModelError, match=f"weight as '{dtype}'.*F32"):
        checkpoint.load(folder)


@pytest.mark.parametrize("dtype", [*HALF, *WIDE, torch.int64, torch.bool])
def test_every_type_that_is_written_is_read(tmp_path, dtype):
    values = {"a": torch.ones(3, dtype=dtype)}
    held = read(write(tmp_path / "a.safetensors", values))
    assert held["a"].dtype == dtype
    assert torch.equal(held["a"], values["a"])


def hostile(c, width):
    c["network"]["specs"]["network"]["widths"] = [4, width, width]


@pytest.mark.parametrize(
    ("family", "change", "says"),
    [
        ("unet", lambda c: hostile(c, 1_000_000), "lacks .*, which its card's network has"),
        ("unet", lambda c: hostile(c, 10**12), "cannot be built"),
        ("unet", lambda c: hostile(c, 10**30), "cannot be built"),
        ("vae", lambda c: hostile(c, 1_000_000), "lacks"),
        ("iidm", lambda c: c["network"]["specs"]["network"].update(hidden=10**12), "its card's"),
        ("iidm", lambda c: c["network"]["specs"]["network"].update(embedding=10**7), "its card's"),
        ("iidm", lambda c: c["network"]["specs"]["diffusion"].update(levels=10**9), "levels is"),
        ("iidm-residual", lambda c: c["network"]["specs"]["mean"].update(out=2), "cannot be built"),
    ],
)
def test_a_card_of_a_huge_network_is_refused_before_there_is_one(tmp_path, family, change, says):
    write_folder(tmp_path, learnt(family))
    change_card(tmp_path, change)
    with pytest.raises(ModelError, match=says):  # torch would find no memory for a real one
        checkpoint.load(tmp_path)


def test_what_no_map_needs_takes_no_memory_however_large_its_card_makes_it(tmp_path):
    learner = learnt("gan")
    before = model(ready(learner), samples=2, seed=7)
    write_folder(tmp_path, learner)
    wide = [1_000_000, 1_000_000]
    change_card(tmp_path, lambda c: c["network"]["specs"]["network"].update(discriminator=wide))
    found = checkpoint.load(tmp_path).model
    want = before.predict(land(before), GRID)
    assert found.predict(land(before), GRID).tobytes() == want.tobytes()
    assert {p.device.type for p in found.learner.discriminator.parameters()} == {"meta"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_maps_are_computed_in_the_precision_that_was_trained_in(tmp_path, precision):
    learner = learnt()
    write_folder(tmp_path, learner, **neural.card(model(learner, precision=precision)))
    assert checkpoint.load(tmp_path).model.precision == precision


def test_a_card_from_before_precision_was_kept_is_automatic(folder):
    change_card(folder, lambda c: c["network"].pop("precision"))
    assert checkpoint.load(folder).model.precision == "auto"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(kind="iddm"), "did you mean 'iidm'"),
        (lambda c: c.update(kind=3), "kind is 3"),
        (lambda c: c.update(kind="iidm"), r"specs are \['network'\]"),
        (lambda c: c.pop("network"), "'network' is missing"),
        (lambda c: c.update(pixel_m="wide"), "wide"),
        (lambda c: c.update(pixel_m=0), "pixel_m"),
        (lambda c: c.update(label_scale_mg_c_ha=float("inf")), "label_scale"),
        (lambda c: c["network"].update(window=3), "window"),
        (lambda c: c["network"].update(tile_px=0), "tile_px"),
        (lambda c: c["network"].update(tile_px=4097), "tile_px"),
        (lambda c: c["network"].update(precision="float8"), "precision"),
        (lambda c: c.pop("image_scale"), "'image_scale' is missing"),
        (lambda c: c.update(network=3), "network"),
        (lambda c: c["network"]["specs"]["network"].update(depth=3), "depth"),
        (lambda c: c["network"]["specs"]["network"].update(bands=4), "4 bands"),
        (lambda c: c["network"]["normalisation"]["spread"].__setitem__(0, 0), "spread"),
        (lambda c: c["network"]["normalisation"].update(mean=[0.0], spread=[1.0]), "1 means"),
        (lambda c: c["network"]["channels"].reverse(), "its channels are"),
        (lambda c: c["layers"].reverse(), "its layers are"),
        (lambda c: c["features"].update(inputs=["image"]), "features"),
        (lambda c: c["features"].update(radii=[2]), "features"),
        (lambda c: c["feature_names"].reverse(), "features"),
    ],
)
def test_a_card_that_cannot_be_understood_says_where(folder, change, says):
    change_card(folder, change)
    with pytest.raises(ModelError, match=says) as caught:
        checkpoint.load(folder)
    assert MARK in str(caught.value) or "family" in str(caught.value)


def test_a_regressors_folder_is_none_of_a_network(folder):
    mark = json.loads((folder / MARK).read_text())
    mark["files"] = {checkpoint.WEIGHTS: mark["files"][NETWORK]}
    (folder / NETWORK).rename(folder / checkpoint.WEIGHTS)
    (folder / MARK).write_text(json.dumps(mark))
    with pytest.raises(ModelError, match="no model's card"):
        checkpoint.load(folder)


def test_the_weights_hash_is_known_of_either_kind():
    held = {"split.parquet": {"sha256": "s"}}
    for name in (NETWORK, checkpoint.WEIGHTS):
        mark = {"files": {**held, name: {"sha256": name}}}
        assert checkpoint.weights_hash(mark) == name


def test_the_card_speaks_stacs_language(folder):
    mlm = pytest.importorskip("pystac.extensions.mlm")
    card = checkpoint.load(folder).card
    told = card["mlm"]
    assert set(told) <= {
        getattr(mlm, name) for name in dir(mlm) if name.endswith("_PROP")
    }  # no field that the extension does not have
    (seen,), (given,) = told["mlm:input"], told["mlm:output"]
    model_input = mlm.ModelInput(seen)
    assert list(model_input.bands) == list(INPUTS.channels)
    assert model_input.input.shape == [-1, BANDS, 16, 16]
    scaling = [mlm.ValueScaling(one) for one in seen["value_scaling"]]
    assert len(scaling) == BANDS
    assert {s.type for s in scaling} == {mlm.ValueScalingType.Z_SCORE}
    assert [s.mean for s in scaling] == [*NORM.mean, 0]
    assert mlm.ModelOutput(given).result.shape == [-1, 1, 16, 16]
    want = sum(p.numel() for p in Unet(SPECS["unet"]["network"]).parameters())
    assert told["mlm:total_parameters"] == card["parameters"] == want


def test_a_learner_of_no_family_cannot_be_kept():
    @dataclasses.dataclass(frozen=True)
    class Stranger(Regression):
        pass

    with pytest.raises(ModelError, match="Stranger"):
        neural.card(model(Stranger(nn.Conv2d(1, 1, 1))))


def test_tensors_need_not_be_contiguous(tmp_path):
    value = torch.arange(6.0).reshape(2, 3).T
    write(tmp_path / "a.safetensors", {"a": value, "b": value})
    found = load((tmp_path / "a.safetensors").read_bytes())
    assert torch.equal(found["a"], value)
