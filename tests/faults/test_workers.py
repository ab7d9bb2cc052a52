"""Maps computed by several processes: the same bytes, whoever dies."""

import json
import os
import signal
import sys
import time
from contextlib import ExitStack

import pytest
import torch

from carbonmap.checkpoint.families import build
from carbonmap.diffusion.spec import DiffusionSpec
from tests.learners import narrow
from tests.stages.conftest import INPUTS, keep

pytestmark = pytest.mark.faults

PREDICT = ("predict", "--dates", "2020-11", "--model")
PATIENCE_S = 60


@pytest.fixture
def drawing(place):
    """The county across four tiles, with a denoiser that takes a second for each."""
    torch.manual_seed(0)
    specs = {"network": narrow(len(INPUTS.channels)), "diffusion": DiffusionSpec(steps=5)}
    learner = build("iidm", specs)
    torch.nn.init.normal_(learner.network.last.weight)
    keep(place, "iidm", learner, samples=6)
    return place


@pytest.fixture
def cluster(drawing):
    """A dask scheduler on loopback with two workers: its address, and the workers."""
    held = drawing.path / "scheduler.json"
    with ExitStack() as stack:

        def start(*words):
            launch = (sys.executable, "-m", "dask")
            process = drawing.start(*words, launch=launch)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
              "--scheduler-file", held)  # fmt: skip
        until(held.is_file)
        address = json.loads(held.read_text())["address"]
        alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
        yield address, [start("worker", address, *alone) for _ in range(2)]


def until(true):
    """Wait for something that another process does."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def windows(place, folder):
    return list((place.path / folder).glob(".*.work/windows/*.npz"))


def at_work(place, address):
    """A run that a cluster has begun, and not ended, once there is the map of a clean one."""
    assert place.call(*PREDICT, "models/iidm", "-o", "one")[0] == 0
    run = place.start(*PREDICT, "models/iidm", "-o", "two", "--scheduler", address)
    until(lambda: windows(place, "two"))
    return run


def test_processes_of_this_machine_make_the_same_map(place):
    want = place.call(*PREDICT, "models/ols", "-o", "one")
    found = place.call(*PREDICT, "models/ols", "-o", "two", "--workers", "2")
    assert (want[0], found[0]) == (0, 0), (want, found)
    assert place.products("two") == place.products("one")
    assert not list((place.path / "two").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["2", "3"])
def test_so_do_they_of_a_model_that_draws(drawing, workers):
    assert drawing.call(*PREDICT, "models/iidm", "-o", "one")[0] == 0
    code, _, err = drawing.call(*PREDICT, "models/iidm", "-o", "more", "--workers", workers)
    assert code == 0, err
    assert drawing.products("more") == drawing.products("one")


@pytest.mark.slow
def test_a_cluster_of_which_a_worker_is_killed_makes_the_same_map(drawing, cluster):
    address, workers = cluster
    run = at_work(drawing, address)
    workers[0].send_signal(signal.SIGKILL)
    assert len(windows(drawing, "two")) < 4  # it was still at work
    _, err = run.communicate(timeout=4 * PATIENCE_S)
    assert run.returncode == 0, err
    assert drawing.products("two") == drawing.products("one")


@pytest.mark.slow
def test_a_run_whose_cluster_was_interrupted_goes_on_here(drawing, cluster):
    address, _ = cluster
    run = at_work(drawing, address)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert drawing.call(*PREDICT, "models/iidm", "-o", "two")[0] == 0
    assert drawing.products("two") == drawing.products("one")


@pytest.mark.slow
def test_what_goes_wrong_in_another_process_is_told_here(drawing):
    chunk = next((drawing.path / "archive" / "demo" / "elevation").rglob("c/0/0"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    here = drawing.call(*PREDICT, "models/iidm", "-o", "one")
    there = drawing.call(*PREDICT, "models/iidm", "-o", "two", "--workers", "2")
    assert (here[0], there[0]) == (1, 1)
    assert "Traceback" not in there[2]
    said = [text.split("carbonmap: error:")[1].splitlines()[0] for text in (here[2], there[2])]
    assert said[0] == said[1]


def test_processes_that_cannot_be_had_are_refused(place):
    for words, text in (
        (("--workers", "0"), "give 1 or more"),
        (("--workers", "2", "--scheduler", "tcp://x:1"), "give one"),
    ):
        code, _, err = place.call(*PREDICT, "models/ols", "-o", "m", *words)
        assert code == 1
        assert text in err
    assert not (place.path / "m").exists()


@pytest.mark.slow
def test_an_address_at_which_nothing_answers_is_told(place, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        code, _, err = place.call(
            *PREDICT, "models/ols", "-o", "m", "--scheduler", address, env=dict(os.environ)
        )
        assert code == 1
        assert "no dask scheduler answers" in err
        assert "Traceback" not in err
