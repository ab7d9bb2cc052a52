"""`train` of a network: alone, or as one of several processes that share the steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from carbonmap import checkpoint
from carbonmap.checkpoint import neural, tensors
from carbonmap.errors import ModelError
from carbonmap.io import files, output
from carbonmap.io.output import Existing
from carbonmap.learning import board as board_
from carbonmap.learning import machine, ranks
from carbonmap.learning.learner import Learner
from carbonmap.learning.ranks import World
from carbonmap.networks.vgg import Trunk
from carbonmap.normalise import Inputs
from carbonmap.project import Model
from carbonmap.stages.common import Report
from carbonmap.stages.job import Job, label_scale, publish, up_to_date
from carbonmap.stages.learn import prepare, run
from carbonmap.stages.learn.keep import LOG
from carbonmap.stages.learn.run import Learned

Start = Callable[[Learner], None]
"""Puts weights into a fresh network."""


def train(
    job: Job,
    out: Path,
    existing: Existing,
    device: str,
    start: Path | None,
    board: Path | None = None,
) -> Report:
    """Train a network into a folder; see `carbonmap.stages.train.train`.

    The first process claims the folder, saves and reports; the others only share its steps.
    """
    name = machine.device_name(device)
    if board is not None:
        board_.require()
        board_.require_folder(board)
    prepare.require_possible(job.project.model)
    begin = None if start is None else starter(start, job.project.model)
    if begin is not None:
        begin(prepare.fresh(job.project.model))  # so that what does not fit is said first
    with ranks.joined(ranks.world_of(os.environ).device(name)) as world:
        if world.first:
            return _lead(job, out, existing, name, begin, world, board)
        if ranks.told(0, world, world.device(name)):
            _learned(job, out, name, begin, world)
        return Report("", {})


def _lead(
    job: Job,
    out: Path,
    existing: Existing,
    device: str,
    begin: Start | None,
    world: World,
    board: Path | None,
) -> Report:
    with output.claim(out / checkpoint.MARK, job.origin, existing) as work:
        ranks.told(work is not None, world, world.device(device))
        if work is None:
            return up_to_date(out)
        learned = _learned(job, out, device, begin, world, board)
        stands, _ = job.split()
        work.begin_publishing()  # only now, so that the old model outlives a run that fails
        log = out / LOG
        files.write_text(log, learned.log.read_text(encoding="utf-8"))
        weights = neural.write(out, learned.learner, job.project.model.storage)
        return publish(job, work, out, stands, learned.facts, [weights, log])


def _learned(
    job: Job,
    out: Path,
    device: str,
    begin: Start | None,
    world: World,
    board: Path | None = None,
) -> Learned:
    _, sampler = job.split()
    settings = job.project.model
    folder = output.work_folder(out / checkpoint.MARK)
    scale = label_scale(job.labels)
    return run.fit(settings, sampler, job.stacks, scale, folder, device, world, begin, board)


def starter(path: Path, settings: Model) -> Start:
    """What puts a VGG's weights into the trunk of a fresh network.

    Args:
        path: a state dict of torchvision's VGG of that depth, in safetensors.
        settings: of the network.

    Raises:
        ModelError: the network reads no image; or, by the function, it has no trunk, or the weights
            do not fit it.
    """
    held, inputs = tensors.read(path), Inputs(settings.features.inputs)
    if "image" not in inputs.kinds:
        raise ModelError(f"--vgg-weights read images, and the inputs are {inputs.kinds}")
    places = [inputs.channels.index(colour) for colour in ("red", "green", "blue")]

    def put(learner: Learner) -> None:
        trunks = [m for m in learner.network.modules() if isinstance(m, Trunk)]
        if not trunks:
            raise ModelError(
                "--vgg-weights were given, and the network has no VGG; leave them out, or choose a "
                "preset that has one"
            )
        for trunk in trunks:  # what a denoiser reads before the layers, such as a mean, is in front
            before = trunk.bands - len(inputs.channels)
            red, green, blue = (before + place for place in places)
            trunk.load_imagenet(held, (red, green, blue))

    return put
