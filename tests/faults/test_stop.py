"""Runs that are killed, interrupted, or begun twice."""

import os
import random
import shutil
import signal

import pytest
from filelock import FileLock

from tests.conftest import Folder
from tests.faults.harm import (
    COMMANDS,
    Run,
    at,
    die,
    each,
    litter,
    products,
    require_whole,
    run,
    send_itself,
)

pytestmark = pytest.mark.faults

STAGES = {
    "build-labels": [
        ("carbonmap.stages.labels", "_first_pass"),
        ("carbonmap.io.raster", "write_tile"),
        ("carbonmap.io.cog", "verify"),
        ("carbonmap.io.figures", "draw_map"),
        ("carbonmap.io.output", "write_mark"),
    ],
    "ingest": [
        ("carbonmap.io.store", "create"),
        ("carbonmap.io.store", "write_block"),
        ("carbonmap.io.files", "sync_tree"),
        ("carbonmap.io.output", "write_mark"),
        ("carbonmap.io.stac", "refresh"),
    ],
    "train": [
        ("carbonmap.models.regressors", "fit"),
        ("carbonmap.checkpoint", "write_weights"),
        ("carbonmap.io.output", "write_mark"),
    ],
    "evaluate": [
        ("carbonmap.io.figures", "draw_evaluation"),
        ("carbonmap.io.output", "write_mark"),
    ],
    "totals": [
        ("carbonmap.stages.adding", "_read"),
        ("carbonmap.io.files", "write_text"),
        ("carbonmap.io.output", "write_mark"),
    ],
    "report": [
        ("carbonmap.io.figures", "draw_map"),
        ("carbonmap.io.files", "write_text"),
        ("carbonmap.io.output", "write_mark"),
    ],
}
"""Functions in which a signal finds a command."""

ANY_MAP = [
    ("carbonmap.io.raster", "write_tile"),
    ("carbonmap.io.cog", "write_cog"),
    ("carbonmap.io.output", "write_mark"),
]
"""The same of any command that makes a map from tiles."""


@pytest.fixture
def ends_well(place, clean):
    """Run a command to its end: all of it is as if nobody had hurt it, and nothing lies about."""

    def check(name):
        done = run(place, COMMANDS[name].words)
        assert done.code == 0, done.err
        assert products(place, COMMANDS[name]) == clean[name]
        assert litter(place.path) == []

    return check


def kill_at_random(place, before, clean, name, rounds, longest):
    """Kill a command again and again, each time after another part of the time that it takes."""
    draw = random.Random(f"{name} {rounds}")
    for _ in range(rounds):
        wait = draw.uniform(0, longest)
        done = Run(place, COMMANDS[name].words).after(wait).send(signal.SIGKILL).end()
        assert done.code in (0, -signal.SIGKILL), done.err
        require_whole(place, COMMANDS[name], before, clean)


@each()
def test_a_run_killed_at_random_leaves_nothing_half_and_is_resumed(
    place, county, clean, pace, ends_well, name
):
    """Rows 3 and 4."""
    kill_at_random(place, products(county, COMMANDS[name]), clean[name], name, 3, pace[name])
    ends_well(name)


@pytest.mark.slow
@each()
def test_a_run_killed_fifty_times_leaves_nothing_half_and_is_resumed(
    place, county, clean, pace, ends_well, name
):
    """Rows 3 and 4."""
    kill_at_random(place, products(county, COMMANDS[name]), clean[name], name, 50, pace[name])
    ends_well(name)


FEW_OR_ALL = pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.slow)])


def kill_at_renames(place, before, clean, name, few, words):
    """Kill a command before its renames, one after another until there is none; how many."""
    step = (16 if name == "build-labels" else 5) if few else 1
    code, kills = -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        code = run(place, words, (at, "os", "replace", kills * step, die)).code
        require_whole(place, COMMANDS[name], before, clean)
        kills += code == -signal.SIGKILL
    assert code == 0
    return kills


@FEW_OR_ALL
@each()
def test_a_run_killed_between_two_renames_leaves_nothing_half_and_is_resumed(
    place, county, clean, ends_well, name, few
):
    """Rows 3 and 4: with every tile made, the renames left are those of the products."""
    command = COMMANDS[name]
    before = products(county, command)
    run(place, command.words, (at, "carbonmap.io.output", "write_mark", 0, die))
    assert kill_at_renames(place, before, clean[name], name, few, command.words) > 0
    ends_well(name)


@FEW_OR_ALL
@each("build-labels")
def test_a_run_killed_while_it_overwrites_leaves_old_files_or_new_and_no_false_mark(
    place, tmp_path, name, few
):
    """Rows 3 and 4."""
    command = COMMANDS[name]
    assert run(place, command.words).code == 0
    before = products(place, command)
    words = (*command.words, *OTHERWISE[name], "--overwrite")
    shutil.copytree(place.path, tmp_path / "other")
    other = Folder(tmp_path / "other")
    assert run(other, words).code == 0
    wanted = products(other, command)
    assert wanted != before
    assert kill_at_renames(place, before, wanted, name, few, words) > 0
    assert products(place, command) == wanted
    assert litter(place.path) == []


OTHERWISE = {
    "build-labels": ("--profile", "ipcc", "--stratum", "temperate-pines"),
    "ingest": ("--scale", "0.5"),
    "mask": ("--min-height", "8"),
    "train": ("--seed", "7"),
    "evaluate": ("--set", "labels.min_coverage=0.7"),
    "totals": ("--set", "labels.min_coverage=0.7"),
    "change": ("--set", "output.style_range_mg_c_ha=[0, 300]"),
    "report": ("--set", "output.style_range_mg_c_ha=[0, 300]"),
    "predict": ("--set", "output.style_range_mg_c_ha=[0, 300]"),
}
"""Options by which a command's output is another one."""


@each()
def test_an_interrupted_run_ends_with_130_says_how_to_go_on_and_is_resumed(place, ends_well, name):
    """Row 23."""
    for number, (module, function) in enumerate(STAGES.get(name, ANY_MAP)):
        which = (signal.SIGINT, signal.SIGTERM)[number % 2]
        done = run(place, COMMANDS[name].words, (at, module, function, 0, send_itself, which))
        done.said("interrupted; run the same command again", code=130)
        assert all(n.endswith(".work") for n in litter(place.path)), function
    ends_well(name)


def test_a_signal_from_outside_at_any_time_ends_a_run_with_130(place, pace, ends_well):
    """Row 23."""
    draw, words = random.Random(23), COMMANDS["build-labels"].words
    codes = []
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        wait = draw.uniform(0, pace["build-labels"] / 2)
        done = Run(place, words).until(".labels.work/owner").after(wait).send(which).end()
        if done.code != 0:
            done.said("run the same command again", code=130)
        codes.append(done.code)
    assert 130 in codes
    ends_well("build-labels")


@each()
def test_a_second_run_into_the_same_output_is_refused_and_the_first_ends_well(place, clean, name):
    """Row 22."""
    command = COMMANDS[name]
    first = Run(place, command.words).until(".*.work/owner").send(signal.SIGSTOP)
    try:
        second = run(place, command.words)
        third = run(place, (*command.words, "--overwrite"))
    finally:
        first.send(signal.SIGCONT)
    for refused in (second, third):
        refused.said(
            "being written by another run", f"process {first.pid} on {os.uname().nodename}"
        )
    assert first.end().code == 0
    assert products(place, command) == clean[name]
    assert litter(place.path) == []


def test_runs_that_write_different_outputs_at_once_do_not_disturb_each_other(place, clean):
    runs = [Run(place, command.words) for command in COMMANDS.values()]
    for name, begun in zip(COMMANDS, runs, strict=True):
        done = begun.end()
        assert done.code == 0, done.err
        assert products(place, COMMANDS[name]) == clean[name]


def test_a_run_waits_for_its_turn_at_the_catalogue(place, clean):
    archive = place.path / "archive"
    with FileLock(archive / ".catalog.lock"):
        begun = Run(place, COMMANDS["ingest"].words).until("image_2020-05-15/layer.json").after(0.5)
        assert begun.process.is_alive()
        assert not (archive / "demo" / "image_2020-05-15" / "image_2020-05-15.json").exists()
    assert begun.end().code == 0
    assert products(place, COMMANDS["ingest"]) == clean["ingest"]


def test_layers_ingested_at_once_are_all_in_the_catalogue(place):
    days = ["2020-02-15", "2020-05-15", "2020-08-15"]
    words = [
        ("ingest", "image", "--bands", f"red=county/image_{day}_red.tif", "--date", day)
        for day in days
    ]
    for begun in [Run(place, w) for w in words]:
        assert begun.end().code == 0
    links = {link["href"] for link in place.json("archive", "demo", "collection.json")["links"]}
    assert {f"./image_{day}/image_{day}.json" for day in days} <= links
