"""Networks trained through the command line: what is kept, what is refused, and how it resumes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from carbonmap import checkpoint
from carbonmap.errors import ModelError
from carbonmap.io.output import STATE
from carbonmap.stages.learn import prepare, run
from carbonmap.stages.learn.exam import Exam
from carbonmap.stages.learn.keep import LOG
from carbonmap.stages.learn.run import _done
from tests.conftest import SPLIT, Folder

SMALL = [
    *SPLIT, "--dates", "2020-11", "--model", "iidm",
    "--set", "model.network.vgg={depth=11, channels=[4,4,4,4,4,4,4,4]}",
    "--set", "model.network.features=4", "--set", "model.network.widths=[4,8,8]",
    "--set", "model.network.heads=1", "--set", "model.network.hidden=4",
    "--set", "model.diffusion.steps=2", "--set", "model.samples=2",
    "--set", "model.training.batch=2", "--set", "model.training.patch_px=32",
    "--set", "model.training.threads=1", "--set", "model.training.validate_every=4",
    "--set", "model.training.checkpoint_every=2",
]  # fmt: skip
"""An IIDM of a few thousand weights, all of whose parts are there."""

UNET = [*SPLIT, "--dates", "2020-11", "--model", "unet", "--set", "model.network.widths=[4,8]",
        "--set", "model.training.batch=2", "--set", "model.training.patch_px=32",
        "--set", "model.training.threads=1"]  # fmt: skip


@pytest.fixture
def folder(labelled, tmp_path):
    shutil.copytree(labelled.path, tmp_path / "project")
    return Folder(tmp_path / "project")


def weights(folder, name):
    return load_file(folder.path / "models" / name / "weights.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def train(folder, name, *words, code=0):
    folder.run("train", *words, "-o", f"models/{name}", code=code)


def begun(folder, name, *words, **more):
    """A training that is killed once it has saved its state: the folder of its work."""
    process = folder.start("train", *words, "-o", f"models/{name}", **more)
    work = folder.path / "models" / name / ".model.work"
    until = time.monotonic() + 240
    while time.monotonic() < until and process.poll() is None and not (work / STATE).is_file():
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    owner = re.match(r"process (\d+) ", (work / "owner").read_text())
    os.kill(int(owner[1]), signal.SIGKILL)  # of several processes the first; torchrun ends the rest
    process.communicate()
    return work


def test_a_network_is_trained_and_its_card_says_what_it_is(folder):
    train(folder, "a", *SMALL, "--steps", "8")
    card = folder.json("models", "a", "model.json")["report"]
    assert (card["kind"], card["steps"], card["stopped_early"]) == ("iidm", 8, False)
    assert [one["step"] for one in card["validations"]] == [4]
    assert card["network"]["specs"]["diffusion"]["steps"] == 2
    assert card["network"]["channels"][-1] == "known"
    assert card["mlm"]["mlm:total_parameters"] == card["parameters"]
    assert card["validation"]["pixels"] > 1000
    assert card["profile"] == "stock-expansion"
    log = [json.loads(x) for x in (folder.path / "models/a" / LOG).read_text().splitlines()]
    assert [one["step"] for one in log] == [4, 8]
    assert set(log[-1]["losses"]) == {"denoiser"}
    held = folder.json("models", "a", "model.json")["files"]
    assert set(held) == {"weights.safetensors", "split.parquet", LOG}


def test_a_run_that_was_killed_goes_on_to_the_weights_of_an_unbroken_one(folder):
    train(folder, "whole", *SMALL, "--steps", "60")
    work = begun(folder, "cut", *SMALL, "--steps", "60")
    assert 0 < json.loads((work / STATE).read_text())["counters"]["step"] < 60
    train(folder, "cut", *SMALL, "--steps", "60")
    assert same(weights(folder, "whole"), weights(folder, "cut"))
    one, other = (folder.json("models", n, "model.json")["report"] for n in ("whole", "cut"))
    assert {one.pop("training_minutes") > 0, other.pop("training_minutes") > 0} == {True}
    assert one == other
    assert not (folder.path / "models" / "cut" / ".model.work").exists()


def test_another_seed_is_another_network_and_the_same_one_the_same(folder):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(folder, name, *UNET, "--steps", "4", "--seed", str(seed))
    assert same(weights(folder, "a"), weights(folder, "b"))
    assert not same(weights(folder, "a"), weights(folder, "c"))


def test_begun_training_is_not_thrown_away_for_other_settings(folder):
    work = begun(folder, "a", *SMALL, "--steps", "500")
    before = (work / STATE).read_bytes()
    code, _, err = folder.call("train", *SMALL, "--steps", "4", "-o", "models/a")
    assert code == 1
    assert "--overwrite" in err
    assert (work / STATE).read_bytes() == before
    train(folder, "a", *SMALL, "--steps", "4", "--overwrite")


def test_training_goes_on_only_as_it_was_begun(folder, capsys):
    """Noise, dropout and rounding follow from the device and the number of processes."""
    work = begun(folder, "a", *SMALL, "--steps", "500")
    held = json.loads((work / STATE).read_text())
    held["facts"]["by"]["processes"] = 2
    (work / STATE).write_text(json.dumps(held))
    train(folder, "a", *SMALL, "--steps", "500", code=1)
    assert "processes: 2 → 1" in capsys.readouterr().err


def test_an_early_stop_that_was_interrupted_learns_no_more(folder, monkeypatch, capsys):
    """Its judgement at the end takes minutes, in which a machine may be switched off."""
    words = [*UNET, "--steps", "12", "--set", "model.training.patience=1",
             "--set", "model.training.validate_every=1",
             "--set", "model.training.learning_rate=0.5",
             "--set", "model.training.checkpoint_every=1"]  # fmt: skip
    train(folder, "whole", *words)
    assert "chose when to stop" in capsys.readouterr().out
    with monkeypatch.context() as patched:
        patched.setattr(run, "_finish", lambda *_: (_ for _ in ()).throw(ModelError("cut off")))
        train(folder, "cut", *words, code=1)
    train(folder, "cut", *words)
    one, other = (folder.json("models", n, "model.json")["report"] for n in ("whole", "cut"))
    assert one["stopped_early"]
    assert one["validations"] == other["validations"]
    assert same(weights(folder, "whole"), weights(folder, "cut"))


def test_land_without_held_out_pixels_trains_and_cannot_stop_early(folder, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "exam_of", lambda sampler, stacks, _: Exam(sampler, stacks, (), 0))
    often = [*UNET, "--steps", "4", "--set", "model.training.validate_every=1"]
    train(folder, "a", *often, "--set", "model.training.patience=1", code=1)
    assert "`model.training.patience` is set" in capsys.readouterr().err
    train(folder, "a", *often)
    assert "nothing judges this model" in capsys.readouterr().out


def test_minutes_become_steps_that_a_card_tells(folder):
    train(folder, "a", *UNET, "--minutes", "0.02")
    card = folder.json("models", "a", "model.json")["report"]
    assert card["budget_minutes"] == 0.02
    assert card["steps"] >= 1


def test_training_stops_after_validations_without_a_better_one():
    def told(*figures):
        return [{"rmse_mg_c_ha": f} for f in figures]

    assert not _done(told(5, 4, 3), 2)
    assert not _done(told(5, 3, 4), 2)
    assert _done(told(5, 3, 4, 3.5), 2)
    assert not _done(told(5, 3, 4, 3.5), None)


def test_an_early_stop_keeps_the_best_weights_and_says_that_they_were_chosen(folder):
    train(folder, "a", *UNET, "--steps", "12", "--set", "model.training.patience=1",
          "--set", "model.training.validate_every=1")  # fmt: skip
    card = folder.json("models", "a", "model.json")["report"]
    assert card["chosen_on_validation"]
    figures = [one["rmse_mg_c_ha"] for one in card["validations"]]
    assert len(figures) == card["steps"]  # the last step's too, which may be the best
    assert card["stopped_early"] == (card["steps"] < 12)
    if card["stopped_early"]:
        assert figures[-1] > figures[-2] == min(figures)


def test_a_finished_network_is_up_to_date_and_other_settings_are_refused(folder):
    train(folder, "a", *UNET, "--steps", "2")
    before = folder.products("models", "a")
    train(folder, "a", *UNET, "--steps", "2")
    assert folder.products("models", "a") == before
    code, _, err = folder.call("train", *UNET, "--steps", "3", "-o", "models/a")
    assert (code, folder.products("models", "a")) == (1, before)
    assert "steps" in err
    train(folder, "a", *UNET, "--steps", "2", "--set", "model.radii=[3]")  # no network heeds it


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--preset", "tyni"], r"no preset 'tyni'.*tiny"),
        (["--set", "model.network.widhts=[4]"], r"model\.network\.widhts.*widths"),
        (["--set", "model.network.widths=[0]"], r"`model\.network\.widths\.0` is 0; it should be"),
        (
            ["--set", "model.diffusion.sampler='euler'"],
            r"`model\.diffusion\.sampler` is 'euler'; it should be",
        ),
        (["--set", "model.training.patch_px=40"], r"multiples? of 16"),
        (["--device", "cuda:99"], r"'cuda:99' is not there"),
        (["--device", "gpu"], r"'gpu' is not known"),
        (["--steps", "2", "--minutes", "1"], r"give one of them"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(folder, capsys, words, says):
    length = [] if "--minutes" in words else ["--steps", "2"]
    train(folder, "x", *SMALL, *length, *words, code=1)
    assert re.search(says, capsys.readouterr().err)
    assert not (folder.path / "models" / "x").exists()


def test_a_damaged_state_is_refused_and_not_learned_from(folder):
    work = begun(folder, "a", *SMALL, "--steps", "500")
    name = json.loads((work / STATE).read_text())["file"]
    data = bytearray((work / name).read_bytes())
    data[-1] ^= 1
    (work / name).write_bytes(data)
    code, _, err = folder.call("train", *SMALL, "--steps", "500", "-o", "models/a")
    assert code == 1
    assert "damaged" in err


def test_two_processes_train_the_network_that_one_would(folder):
    """As the README starts them; without batch norms, whose statistics are each process's own."""
    words = [*UNET, "--set", "model.network.norm=none"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
              "2", "-m", "carbonmap"]  # fmt: skip
    often = [*words, "--steps", "40", "--set", "model.training.checkpoint_every=4"]

    def together(name):
        done = subprocess.run(
            [*launch, "train", *often, "-o", f"models/{name}"],
            cwd=folder.path, capture_output=True, text=True, timeout=240,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("held-out blocks") == 1  # the first alone tells

    together("two")
    begun(folder, "cut", *often, launch=launch)
    together("cut")
    assert same(weights(folder, "two"), weights(folder, "cut"))
    train(folder, "one", *often)
    train(folder, "less", *words, "--steps", "39")
    two, one, less = (weights(folder, name) for name in ("two", "one", "less"))
    apart = {key: np.abs(one[key] - less[key]).max() for key in one}
    assert two.keys() == one.keys()
    for key in one:
        assert np.abs(two[key] - one[key]).max() <= 0.01 * max(apart.values()), key


@pytest.mark.parametrize(
    "words",
    [["--steps", "3"], ["--preset", "tiny"], ["--device", "cpu"], ["--vgg-weights", "x"]],
)
def test_what_a_regressor_would_ignore_is_refused(folder, capsys, words):
    train(folder, "x", *SPLIT, "--dates", "2020-11", "--model", "ols", *words, code=1)
    assert f"{words[0]} says nothing to ols" in capsys.readouterr().err


def vgg(path, channels):
    """A VGG-11's state as torchvision names it."""
    held, before = {}, 3
    places = (0, 3, 6, 8, 11, 13, 16, 18)
    rng = np.random.default_rng(0)
    for place, wide in zip(places, channels, strict=True):
        held[f"features.{place}.weight"] = rng.normal(size=(wide, before, 3, 3)).astype(np.float32)
        held[f"features.{place}.bias"] = np.zeros(wide, np.float32)
        before = wide
    save_file(held, path)
    return held


@pytest.mark.parametrize(("kind", "before"), [("iidm", 0), ("iidm-residual", 1)])
def test_a_vgg_finds_its_colours_among_the_layers(folder, kind, before):
    """Blue, green and red come first, and before them the mean that a residual reads."""
    held = vgg(folder.path / "vgg.safetensors", [4] * 8)
    words = [*SMALL, "--model", kind, "--steps", "1", "--set", "model.training.learning_rate=1e-12"]
    train(folder, "a", *words, "--vgg-weights", "vgg.safetensors")
    found = weights(folder, "a")
    (first,) = [v for k, v in found.items() if k.endswith("trunk.features.0.weight")]
    bands = first.shape[1]
    colours = first[:, [before + 2, before + 1, before]]
    np.testing.assert_allclose(colours, held["features.0.weight"] * 3 / bands, atol=1e-6)


def test_a_vgg_of_another_width_is_refused_before_anything_is_begun(folder, capsys):
    vgg(folder.path / "vgg.safetensors", [8] * 8)
    train(folder, "a", *SMALL, "--steps", "1", "--vgg-weights", "vgg.safetensors", code=1)
    assert "features.0." in capsys.readouterr().err
    assert not (folder.path / "models" / "a").exists()


def test_half_the_bytes_hold_the_weights_that_were_judged(folder):
    for name, storage in (("whole", "float32"), ("half", "bfloat16")):
        train(folder, name, *SMALL, "--steps", "2", "--set", f"model.storage={storage}")
    whole, half = (
        (folder.path / "models" / n / "weights.safetensors").stat().st_size
        for n in ("whole", "half")
    )
    assert half < 0.8 * whole
    held = folder.json("models", "half", "model.json")["report"]
    assert held["network"]["storage"] == "bfloat16"
    assert checkpoint.load(folder.path / "models" / "half").card == held


def test_a_training_that_diverged_says_so_and_leaves_no_model(folder, capsys):
    words = ("--steps", "4", "--set", "model.training.learning_rate=1e12",
             "--set", "model.training.warmup_steps=0")  # fmt: skip
    train(folder, "wild", *UNET, *words, code=1)
    assert "it has diverged" in capsys.readouterr().err
    assert not (folder.path / "models" / "wild" / "model.json").exists()


@pytest.mark.parametrize("kind", ["ols", "unet"])
def test_a_model_is_not_put_among_other_things(folder, capsys, kind):
    before = folder.products("labels")
    words = [kind if word == "unet" else word for word in UNET[: len(SPLIT) + 4]]
    folder.run("train", *words, "-o", "labels", "--overwrite", code=1)
    assert "'labels' holds other things and no model" in capsys.readouterr().err
    assert folder.products("labels") == before
    assert not list((folder.path / "labels").glob(".*"))


def test_the_settings_shown_are_those_that_the_options_make(folder, capsys):
    for words, line in (
        (("--steps", "7"), "steps = 7"),
        (("--minutes", "3"), "minutes = 3.0"),
        (("--steps", "2", "--set", "model.training.steps=9"), "steps = 2"),
    ):
        folder.run("train", "--dates", "2020-11", *words, "--print-config")
        assert line in capsys.readouterr().out.split("[model.training]")[1]
