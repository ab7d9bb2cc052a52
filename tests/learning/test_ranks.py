"""Several processes train as one would; one alone does without any of it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import load_file  # noqa: E402

from carbonmap.errors import ModelError  # noqa: E402
from carbonmap.learning.ranks import ALONE, World, agree, average, joined, told, world_of  # noqa: E402
from tests import rank_worker  # noqa: E402

WORKER = Path(__file__).parents[1] / "rank_worker.py"
ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def start(out, **environment):
    """A rank in a process of its own, and the file of what it says."""
    log = out.with_suffix(".log")
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), str(out)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    return process, log


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What one process alone and each of two together have come to."""
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo, by which processes on CPUs share gradients")
    folder = tmp_path_factory.mktemp("ranks")
    outs = [folder / f"{name}.safetensors" for name in ("alone", "first", "second")]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    started = [
        start(out, **meet, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank, out in enumerate(outs[1:])
    ]
    threads = torch.get_num_threads()
    try:
        rank_worker.main(outs[0])
        for process, log in started:
            assert process.wait(timeout=300) == 0, log.read_text()
    finally:
        torch.set_num_threads(threads)
        for process, _ in started:
            process.kill()
            process.wait()
    return [load_file(out) for out in outs]


def test_two_ranks_with_half_the_batch_each_equal_one_with_the_whole(runs):
    alone, first, _ = runs
    names = [name for name in alone if name.startswith("none.")]
    assert any("moments" in name for name in names)
    for name in names:
        torch.testing.assert_close(first[name], alone[name], rtol=1e-5, atol=1e-6)


def test_ranks_hold_the_same_run_to_the_bit_norms_statistics_too(runs):
    _, first, second = runs
    assert first.keys() == second.keys()
    assert any("running_var" in name for name in first)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_what_the_first_rank_says_is_known_to_all(runs):
    assert [run["told"].item() for run in runs] == [5.0, 5.0, 5.0]


def test_a_world_of_one_changes_nothing():
    values = torch.ones(3)
    with joined(torch.device("cpu"), ALONE) as world:
        average([values], torch.tensor(0.0), world)
        agree([values], world)
        assert world.first
        assert told(2.5, world, torch.device("cpu")) == 2.5
        assert not torch.distributed.is_initialized()
    assert values.tolist() == [1, 1, 1]


def test_the_world_is_what_torchrun_says():
    assert world_of({"PATH": "x"}) == World(0, 1, 0)
    assert world_of({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == World(5, 8, 1)
    assert not World(5, 8, 1).first


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "0"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "x"},
        {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"RANK": "0", "WORLD_SIZE": "0", "LOCAL_RANK": "0"},
    ],
)
def test_a_world_that_cannot_be_is_refused(environment):
    with pytest.raises(ModelError, match="torchrun"):
        world_of(environment)


@given(st.integers(1, 9), st.integers(0, 40))
def test_every_patch_is_one_ranks_and_the_shares_are_even(size, more):
    patches = list(range(size + more))
    shares = [patches[World(rank, size).share(len(patches))] for rank in range(size)]
    assert [patch for share in shares for patch in share] == patches
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fewer_patches_than_ranks_are_refused():
    with pytest.raises(ModelError, match="raise `batch` to 4 at least"):
        World(0, 4).share(3)


def test_each_rank_takes_its_own_gpu_unless_one_is_named():
    assert World(5, 8, 1).device("cuda") == torch.device("cuda", 1)
    assert World(5, 8, 1).device("cuda:3") == torch.device("cuda", 3)
    assert World(5, 8, 1).device("cpu") == torch.device("cpu")


def test_a_torch_that_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_backend_available", lambda _: False)
    with pytest.raises(ModelError, match="has no gloo"), joined(torch.device("cpu"), World(0, 2)):
        pass
