"""Which models may be judged on a job's land, by what their cards tell of their own training."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from carbonmap import checkpoint
from carbonmap.errors import ModelError
from carbonmap.io import files
from carbonmap.stages.job import require_same
from tests.conftest import SPLIT, Folder

DATES = ("--dates", "2020-11")
CARD = {"split": {"seed": 0}, "inputs": {"labels": "l"}, "mask": None, "min_coverage": 0.9}
FOREST, OTHER = "a" * 64, "b" * 64


def job(mask=None, least=0.9):
    origin = {"inputs": CARD["inputs"], "mask": mask, "min_coverage": least}
    return SimpleNamespace(split_told=CARD["split"], origin=origin)


@pytest.mark.parametrize(
    ("theirs", "mine", "says"),
    [
        ({"split": {"seed": 1}}, {}, "another split .* held out"),
        ({"inputs": {"labels": "m"}}, {}, "another labels .* held out"),
        ({"mask": FOREST}, {}, "another mask .*None.* other pixels"),
        ({}, {"mask": FOREST}, "another mask .*None.* other pixels"),
        ({"mask": OTHER}, {"mask": FOREST}, f"another mask .*{OTHER}, here {FOREST}"),
        ({"min_coverage": 0.5}, {}, r"another min_coverage \(0\.5, here 0\.9\)"),
    ],
)
def test_a_model_that_learned_otherwise_is_refused_by_name(theirs, mine, says):
    with pytest.raises(ModelError, match=says) as caught:
        require_same("x", Path("models/x"), CARD | theirs, job(**mine))
    assert re.search("model 'x' at 'models.x' .*; train it anew", str(caught.value))


@pytest.mark.parametrize("mine", [{}, {"mask": FOREST}, {"mask": FOREST, "least": 0.5}])
def test_a_model_that_learned_alike_is_accepted(mine):
    told = {"mask": mine.get("mask"), "min_coverage": mine.get("least", 0.9)}
    require_same("x", Path("models/x"), CARD | told, job(**mine))


def test_an_older_card_counts_as_without_a_mask_and_of_the_jobs_own_coverage():
    old = {key: CARD[key] for key in ("split", "inputs")}
    require_same("x", Path("models/x"), old, job(least=0.5))
    with pytest.raises(ModelError, match="another mask"):
        require_same("x", Path("models/x"), old, job(FOREST))


def test_a_model_of_the_forest_is_not_compared_on_all_land(labelled, tmp_path, capsys):
    shutil.copytree(labelled.path, tmp_path / "project")
    folder = Folder(tmp_path / "project")
    folder.run("mask", "--method", "threshold", *DATES, "-o", "forest.tif")
    few = ("--set", "labels.min_coverage=0.5")
    train = ("train", "--model", "ols", *DATES, *SPLIT, "--mask", "forest.tif", *few)
    folder.run(*train, "-o", "models/ols")
    card = checkpoint.load(folder.path / "models" / "ols").card
    assert card["mask"] == files.sha256(folder.path / "forest.tif")
    assert card["min_coverage"] == 0.5
    compare = ("compare", *DATES, *SPLIT, "--models", "", "--load", "x=models/ols", "-o", "c")
    folder.run(*compare, *few, code=1)
    assert "another mask" in capsys.readouterr().err
    folder.run(*compare, "--mask", "forest.tif", code=1)
    assert "another min_coverage" in capsys.readouterr().err
