"""`carbonmap distill` on a small county: what comes out, what is refused, what is done once."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from carbonmap import checkpoint
from carbonmap.checkpoint import tensors
from carbonmap.distill import phases
from carbonmap.distill.pca import Basis
from carbonmap.errors import ModelError
from carbonmap.learning import machine
from carbonmap.learning.learner import Batch
from carbonmap.learning.vae import VaeLearner
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.rival_specs import VaeSpec
from carbonmap.networks.specs import IidmSpec, VggSpec
from carbonmap.normalise import Normalisation
from carbonmap.stages import timing
from carbonmap.stages.distill import report, run, teacher
from carbonmap.stages.learn import run as learn
from tests import learners
from tests.conftest import SPLIT, Folder

VGG = (8, 8, 12, 12, 12, 12, 12, 12)
SPEC = IidmSpec(
    bands=3, vgg=VggSpec(11, VGG), features=8, widths=(8, 12), hidden=8, embedding=8,
    attention_stride=2,
)  # fmt: skip
TEACHER = [
    "--set", "model.network.widths=[8,12]",
    "--set", f"model.network.vgg={{depth=11,channels={list(VGG)}}}",
    "--set", "model.network.features=8",
    "--set", "model.network.hidden=8",
    "--set", "model.network.embedding=8",
    "--set", "model.diffusion.steps=1",
]  # fmt: skip
TRAINING = [
    "--set", "model.training.patch_px=32", "--set", "model.training.batch=4",
    "--set", "model.training.threads=1", "--set", "model.samples=1",
]  # fmt: skip
DATES = ("--dates", "2020-11")
DISTIL = (
    "distill", "--teacher", "models/teacher", *DATES, *SPLIT, *TRAINING,
    "--patches", 24, "--block-steps", 2, "--steps", 4, "--variance", 0.8,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def single():
    """One thread: more only get in each other's way in networks as small as these."""
    with machine.threads(1):
        yield


@pytest.fixture(scope="module")
def taught(labelled, tmp_path_factory):
    """The county with a denoiser that has learned a little, and one distilled from it."""
    path = tmp_path_factory.mktemp("taught") / "project"
    shutil.copytree(labelled.path, path)
    folder = Folder(path)
    train = ("train", "--model", "iidm", *DATES, *SPLIT, *TRAINING, *TEACHER, "--steps", 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "ROUNDS", 1)
        patch.setattr(learn, "CARD_DRAWN_PX", 1500)
        folder.run(*train, "-o", "models/teacher")
        folder.run(*DISTIL, "-o", "models/kd")
        yield folder


def mark(folder, name):
    return folder.json("models", name, checkpoint.MARK)


def test_the_student_is_a_model_as_any_other_that_names_its_teacher(taught):
    card, teacher = mark(taught, "kd")["report"], mark(taught, "teacher")
    told = card["distilled_from"]
    assert told["sha256"] == checkpoint.weights_hash(teacher)
    assert (told["method"], told["variance"], card["kind"]) == ("pca", 0.8, "iidm")
    for key in ("split", "inputs", "dates", "label_scale_mg_c_ha", "layers"):
        assert card[key] == teacher["report"][key]
    assert card["network"]["normalisation"] == teacher["report"]["network"]["normalisation"]
    assert card["network"]["specs"]["diffusion"]["steps"] == 1
    model = checkpoint.load(taught.path / "models" / "kd").model
    assert model.tile_px == 32
    assert sum(p.numel() for p in model.learner.network.parameters()) <= card["parameters"]
    taught.run("predict", *DATES, "--model", "models/kd", "-o", "maps")


def test_every_layer_has_the_fewest_channels_that_exceed_the_share(taught):
    told = taught.json("models", "kd", "distillation.json")
    spec = mark(taught, "kd")["report"]["network"]["specs"]["network"]
    trunk = [one for one in told["layers"] if one["level"] is None]
    assert tuple(one["channels"] for one in trunk) == VGG
    assert [one["kept"] for one in trunk] == spec["vgg"]["channels"]
    for one in told["layers"]:
        curve = [0.0, *one["curve"]]
        assert curve[one["wanted"] - 1] <= 0.8 < curve[one["wanted"]]
        assert one["wanted"] <= one["kept"] <= one["channels"]
        assert one["explained"] == one["curve"][one["kept"] - 1]
        if one["level"] is not None:
            assert one["kept"] == spec["widths"][one["level"]]
    assert {one["name"] for one in told["blocks"]} >= {one["name"] for one in told["layers"]}
    assert all(one["loss"] >= one["floor"] * (1 - 1e-5) for one in told["blocks"])


def test_parameters_times_and_errors_stand_before_and_after(taught):
    told = taught.json("models", "kd", "distillation.json")
    counts, card = told["parameters"], mark(taught, "kd")["report"]
    assert counts["all"]["before"] == mark(taught, "teacher")["report"]["parameters"]
    assert counts["all"]["after"] == card["parameters"]
    assert all(one["after"] < one["before"] for one in counts.values())
    assert all(seconds > 0 for seconds in told["seconds_a_tile"].values())
    assert told["error"]["before"] == mark(taught, "teacher")["report"]["validation"]
    assert told["error"]["after"] == card["validation"]
    text = report.text(told)
    first = told["layers"][0]
    assert f"relu1     8 → {first['kept']}" in text
    assert f"parameters, VGG: {counts['vgg']['before']:,} → {counts['vgg']['after']:,} (-" in text
    picture = taught.path / "models" / "kd" / "explained_variance.png"
    assert picture.stat().st_size > 10_000


def test_a_stopped_run_repeats_no_phase_and_comes_to_the_same_student(taught, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    def fails(*_, **__):
        raise AssertionError("this was done already")

    with monkeypatch.context() as patch:
        patch.setattr(phases, "blockwise", stop)
        taught.run(*DISTIL, "-o", "models/again", code=None)
    with monkeypatch.context() as patch:
        patch.setattr(phases, "plan_of", fails)
        patch.setattr(learn, "_run", stop)
        taught.run(*DISTIL, "-o", "models/again", code=None)
    monkeypatch.setattr(phases, "plan_of", fails)
    monkeypatch.setattr(phases, "blockwise", fails)
    taught.run(*DISTIL, "-o", "models/again")
    (one, other) = (
        taught.path / "models" / name / "weights.safetensors" for name in ("kd", "again")
    )
    assert one.read_bytes() == other.read_bytes()
    monkeypatch.setattr(run, "_distilled", fails)
    taught.run(*DISTIL, "-o", "models/again")  # up to date


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--set", "model.split.seed=9"], "another split"),
        (["--variance", "1.5"], "variance"),
        (["--teacher", "models/ols"], "'ols', and PCA distils iidm and unet"),
    ],
)
def test_what_cannot_be_is_refused_by_name(taught, capsys, more, says):
    if "models/ols" in more and not (taught.path / "models" / "ols").is_dir():
        taught.run("train", "--model", "ols", *DATES, *SPLIT, "-o", "models/ols")
    taught.run(*DISTIL, *more, "-o", "models/refused", code=1)
    assert says in capsys.readouterr().err
    assert not (taught.path / "models" / "refused" / checkpoint.MARK).exists()


def test_channels_standardised_by_other_pixels_are_refused():
    norms = [Normalisation((mean,), (1.0,)) for mean in (0.0, 1.0)]
    teacher.require_norm(Path("t"), norms[0], norms[0])
    with pytest.raises(ModelError, match=r"'t' learned from other pixels.*--mask"):
        teacher.require_norm(Path("t"), *norms)


def test_other_labels_are_refused_by_name(taught, tmp_path, capsys):
    shutil.copytree(taught.path, tmp_path / "other")
    other = Folder(tmp_path / "other")
    held = other.json("labels", "labels.json")
    held["report"]["note"] = "built again"
    (other.path / "labels" / "labels.json").write_text(json.dumps(held))
    other.run(*DISTIL, "-o", "models/refused", code=1)
    assert "trained with another labels" in capsys.readouterr().err


def denoiser(spec=SPEC):
    """A denoiser all of whose weights were drawn; a fresh one answers 0."""
    torch.manual_seed(0)
    learner = learners.Diffusion(Iidm(spec), learners.DiffusionSpec(steps=2))
    with torch.no_grad():
        for parameter in learner.network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return learner


def batches(count, first=0):
    made = []
    for step in range(first, first + count):
        random = torch.Generator().manual_seed(step)
        condition = torch.randn(4, 3, 32, 32, generator=random)
        target = condition[:, :1].clamp(-1, 1)
        made.append(Batch(condition, target, torch.ones_like(target)))
    return made


@pytest.mark.parametrize("parts", ["vgg", "unet"])
def test_the_other_part_stays_as_the_teachers_to_the_bit(parts):
    whole = phases.teacher_of(denoiser(), parts)
    plan = phases.plan_of(whole, whole.inputs(batches(2), 0), 0.7)
    spec = phases.student_spec(whole, plan.choices)
    assert (spec.widths == SPEC.widths) == (parts == "vgg")
    assert (spec.vgg == SPEC.vgg) == (parts == "unet")
    student = phases.teacher_of(denoiser(spec), parts).network
    held = list(whole.inputs(batches(1), 1))
    phases.project(whole, student, plan, held)
    done = list(phases.blockwise(
        whole, student, plan, whole.inputs(batches(15), 2), held, run.Blockwise(1), 0
    ))  # fmt: skip
    assert len(done) == phases.count_blocks(whole)
    own, theirs = learners.values(student), learners.values(whole.network)
    of_f0 = [key for key in own if key.startswith("features.")]
    kept = of_f0 if parts == "unet" else [key for key in own if key not in of_f0]
    assert kept
    assert all(torch.equal(own[key], theirs[key]) for key in kept)
    moved = next(key for key in own if key.endswith("weight") and key not in kept)
    assert own[moved].shape != theirs[moved].shape or not torch.equal(own[moved], theirs[moved])


def test_all_of_the_variance_keeps_all_channels():
    whole = phases.teacher_of(denoiser(), "both")
    plan = phases.plan_of(whole, whole.inputs(batches(2), 0), 1.0)
    assert phases.student_spec(whole, plan.choices) == SPEC


@pytest.mark.parametrize(
    ("learner", "parts", "says"),
    [
        (VaeLearner.of(VaeSpec(3, (4, 8))), "both", "VaeLearner cannot be distilled"),
        (learners.regression(norm="group"), "both", "model.network.norm=batch"),
        (learners.regression(), "vgg", "has no VGG"),
        (denoiser(IidmSpec(3, None, 4, (4, 6), block="residual", norm="none")), "both", "residual"),
    ],
)
def test_a_teacher_that_pca_cannot_distil_is_told_what_to_do(learner, parts, says):
    with pytest.raises(ModelError, match=says):
        phases.teacher_of(learner, parts)


def test_bases_come_back_from_a_file(tmp_path):
    random = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(3, 3, generator=random, dtype=torch.float64))[0]
    parts = [torch.rand(3, generator=random, dtype=torch.float64) for _ in range(4)]
    path = tensors.write(tmp_path / "b.safetensors", phases.packed({"up0.1": Basis(rows, *parts)}))
    found = phases.unpacked(tensors.read(path))["up0.1"]
    torch.testing.assert_close(found.directions, rows, rtol=0, atol=1e-7)
    assert torch.equal(found.active, parts[3])


def test_a_student_does_not_replace_its_teacher(taught, capsys):
    before = taught.products("models", "teacher")
    for more in ((), ("--overwrite",)):
        taught.run(*DISTIL, "-o", "models/../models/teacher", *more, code=1)
        assert "would replace its teacher" in capsys.readouterr().err
    assert taught.products("models", "teacher") == before
