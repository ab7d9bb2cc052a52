"""Training a network: how long a step waits for its patches, and what the patches cost.

A step's share of waiting is the time until its patches were there over the whole step; another
thread makes them while the network computes. Target: at most 5 %, the first step apart, which must
read the first blocks of the archive. Beside it stand the loader alone, on fresh and on full
caches, and the network alone on one batch that is there.

    python benchmarks/bench_training.py [--project FOLDER --dates 2020-11] [--steps 60]
"""

import argparse
import contextlib
import dataclasses
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bench_models import prepare

from carbonmap import config
from carbonmap.dates import parse_periods
from carbonmap.learning import loop, machine
from carbonmap.learning.ranks import ALONE
from carbonmap.models.neural import as_batch
from carbonmap.stages import region as region_
from carbonmap.stages.job import job_of, label_scale
from carbonmap.stages.learn import prepare as learning_setup
from carbonmap.stages.patches import Blocks, Prefetched

TARGET = 0.05
"""Most of a step that may be waiting."""

ALONE_STEPS = 12
"""Steps of the network alone, the first third of which warms up."""


def setup(folder, dates, given):
    """What `train` has before its first step; nothing is written beside the project."""
    project = config.load(folder / "carbonmap.toml", [])
    training = dataclasses.replace(
        project.model.training, steps=given.steps, threads=given.threads, minutes=None
    )
    model = dataclasses.replace(
        project.model, kind=given.model, preset=given.preset, training=training
    )
    project = dataclasses.replace(project, model=model)
    name, grid = region_.region_of(project, None)
    job = job_of(project, name, grid, parse_periods(dates), folder / "labels")
    _, sampler = job.split()
    scale = label_scale(job.labels)
    return learning_setup.setup_of(model, sampler, job.stacks, scale, folder, "cpu", ALONE, None)


def trained(one, steps):
    """Each step's waiting and computing, and CPU and wall seconds of all steps together."""
    cpu, wall = time.process_time(), time.perf_counter()
    with Prefetched(lambda step: as_batch(*one.source.batch(step)), range(steps)) as made:
        following = iter(made)
        done = [
            (told.waiting, told.computing)
            for told in loop.fit(
                one.learner, lambda _: next(following), one.training, torch.device("cpu")
            )
        ]
    spent = time.process_time() - cpu, time.perf_counter() - wall
    return np.array(done), spent


def loading(source, steps):
    """Seconds of each batch, by the loader alone."""
    found = []
    for step in range(steps):
        start = time.perf_counter()
        source.batch(step)
        found.append(time.perf_counter() - start)
    return found


def computing(one):
    """Seconds of each step of the network alone, past those that warm it up."""
    learner = learning_setup.fresh(one.settings)
    batch = as_batch(*one.source.batch(0))
    training = dataclasses.replace(one.training, steps=ALONE_STEPS)
    steps = loop.fit(learner, lambda _: batch, training, torch.device("cpu"))
    return [told.computing for told in steps][ALONE_STEPS // 3 :]


def tell(one, steps):
    """Measure and print."""
    training = one.training
    done, (cpu, wall) = trained(one, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    waited, took = done[:, 0], done.sum(axis=1)
    share = waited[1:].sum() / took[1:].sum()
    print(
        f"{one.settings.kind} {one.settings.preset}, {steps} steps of {training.batch} patches of "
        f"{training.patch_px}², {training.threads} threads"
    )
    print(
        f"    a step: {1e3 * wall / steps:.0f} ms by the clock, {1e3 * cpu / steps:.0f} ms of CPU; "
        f"{training.batch * steps / wall:.1f} patches/s"
    )
    print(
        f"    waiting for patches: {share:.2%} of the time (target {TARGET:.0%}); the first step "
        f"{1e3 * waited[0]:.0f} ms, with it {waited.sum() / took.sum():.2%}"
    )
    cold = dataclasses.replace(one.source, blocks=Blocks())
    first, *rest = loading(cold, min(steps, 20))
    network = statistics.median(computing(one))
    loader = statistics.median(rest)
    print(
        f"    the loader alone: {1e3 * loader:.1f} ms a batch (median), the first {1e3 * first:.0f}"
        f" ms, the slowest after it {1e3 * max(rest):.0f} ms"
    )
    print(f"    the network alone: {1e3 * network:.0f} ms a step (median)")
    print(
        f"    loader / network {loader / network:.3f}; step / network "
        f"{np.median(took[1:]) / network:.3f}; peak memory {peak:.0f} MB, blocks of the archive "
        f"{one.source.blocks.held_bytes / 1e6:.0f} MB of it"
    )


def main():
    """Parse, prepare, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, help="folder with an archive and labels/")
    parser.add_argument("--dates", default="2020-11", help="images of that project")
    parser.add_argument("--model", default="iidm")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2, help="of torch, as model.training has")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder, dates = given.project, given.dates
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            dates = prepare(folder, Path("no data: simulate"))
        os.chdir(folder)
        stack.callback(os.chdir, Path.cwd().anchor)  # out of what is removed
        stack.enter_context(machine.threads(given.threads))
        tell(setup(Path(), dates, given), given.steps)


if __name__ == "__main__":
    main()
