"""Commands that make models: train, compare.

Each stage is imported by the command that runs it, since some take a second to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from carbonmap.cli.chain import names_of
from carbonmap.cli.group import main
from carbonmap.cli.options import (
    PATH,
    ProjectCommand,
    dates_option,
    existing,
    json_option,
    mask_option,
    options,
    output_option,
    overwrite_option,
    region_option,
    show,
    with_project,
)
from carbonmap.dates import parse_periods
from carbonmap.errors import ConfigError
from carbonmap.project import KINDS, NETWORKS, Project
from carbonmap.stages import region as region_

inputs_option = click.option(
    "--inputs",
    metavar="NAMES",
    callback=names_of,
    help="image,terrain by default; canopy-height can join.",
)
preset_option = click.option(
    "--preset",
    metavar="NAME",
    help="Size of networks: tiny (default), small, paper; of iidm also idm, idm-tiny and the rows "
    "of the paper's tables, as table1:kd-unet.",
)
training_options = options(
    click.option("--steps", type=int, metavar="N", help="Of a network's training."),
    click.option(
        "--minutes",
        type=float,
        metavar="M",
        help="Of a network's training instead of steps: CPU time, on a GPU time by the clock.",
    ),
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="That networks compute on: cpu, cuda, cuda:1, or auto.",
    ),
)
land_options = options(
    click.option(
        "--labels", type=PATH, default="labels", show_default=True, help="Folder of labels."
    ),
    region_option,
    dates_option,
    mask_option,
)


def refuse_unheeded(names: Sequence[str], loaded: Sequence[str] = ()) -> None:
    """Refuse options that none of the models would heed.

    Args:
        names: of the models to train: families, or ``family:preset``.
        loaded: names of those that are there already, and at most compute on a device.

    Raises:
        ConfigError: an option would be ignored.
    """
    regressors = set(KINDS) - set(NETWORKS)  # an unknown family is refused as such later
    networks = [name for name in names if name.partition(":")[0] not in regressors]
    heeding = {
        "inputs": names,
        "preset": [name for name in networks if ":" not in name],
        "device": [*networks, *loaded],
        **dict.fromkeys(("steps", "minutes", "vgg_weights", "board"), networks),
    }
    models = [*names, *(f"{name} (trained already)" for name in loaded)]
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        heeded = heeding.get(str(parameter.name), models)
        if models and not heeded and source is ParameterSource.COMMANDLINE:
            raise ConfigError(
                f"{parameter.opts[0]} says nothing to {', '.join(models)}; leave it out"
            )


@main.command(cls=ProjectCommand)
@click.option("--model", "kind", type=click.Choice(KINDS), help="Family of the model.")
@inputs_option
@click.option(
    "--seed",
    type=int,
    help="Of the draw of pixels and the model; the blocks have model.split.seed.",
)
@preset_option
@training_options
@click.option(
    "--vgg-weights",
    type=PATH,
    help="torchvision's VGG in safetensors, from which a network's VGG starts.",
)
@click.option(
    "--tensorboard",
    "board",
    type=PATH,
    metavar="FOLDER",
    help="Write a network's log for TensorBoard too (the extra `tensorboard`).",
)
@land_options
@output_option("models/model", "Folder of the model.")
@overwrite_option
@json_option
@with_project(trains=True, model=("kind", "inputs", "seed", "preset"))
def train(
    project: Project,
    labels: Path,
    vgg_weights: Path | None,
    board: Path | None,
    device: str,
    region: str | None,
    dates: str,
    mask: Path | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train a model on label pixels, with validation in blocks that it never sees.

    A network that was stopped goes on from its last saved state by the same command. Several GPUs:
    torchrun --nproc-per-node 4 -m carbonmap train … --device cuda
    """
    from carbonmap.stages import train as train_

    refuse_unheeded([project.model.kind])
    name, grid = region_.region_of(project, region)
    report = train_.train(
        project,
        name,
        grid,
        parse_periods(dates),
        labels,
        out,
        mask=mask,
        existing=existing(overwrite),
        device=device,
        start=vgg_weights,
        board=board,
    )
    show(report, as_json)


def listed(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    """``ols; iidm:tiny`` as names; commas part them too, but for those of a preset's own name."""
    parts = text.split(";") if ";" in text else text.split(",")
    return [part.strip() for part in parts if part.strip()]


def pairs(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[tuple[str, Path]]:
    """``NAME=FOLDER`` as name and folder."""
    found = []
    for text in texts:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise click.BadParameter(f"{text!r} is not NAME=FOLDER")
        found.append((name, Path(folder)))
    return found


@main.command(cls=ProjectCommand)
@click.option(
    "--models",
    default="ols,random-forest,gradient-boosting,unet,iidm",
    show_default=True,
    callback=listed,
    metavar="NAMES",
    help="To train; FAMILY:PRESET too; parted by commas, or by semicolons where a preset has "
    "commas in its name; '' for none.",
)
@click.option(
    "--load",
    "loaded",
    multiple=True,
    callback=pairs,
    metavar="NAME=FOLDER",
    help="A model trained on these labels and this split.",
)
@click.option(
    "--draws",
    type=int,
    default=32,
    show_default=True,
    metavar="K",
    help="Of generative models, 8 at least; intervals by rank need 19.",
)
@inputs_option
@preset_option
@training_options
@land_options
@output_option("comparison", "Folder of models, tables and figure.")
@overwrite_option
@json_option
@with_project(trains=True, model=("inputs", "preset"))
def compare(
    project: Project,
    models: list[str],
    loaded: list[tuple[str, Path]],
    draws: int,
    labels: Path,
    device: str,
    region: str | None,
    dates: str,
    mask: Path | None,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train or load models on one split and budget, and judge all on the land held out.

    A comparison that was stopped goes on by the same command; models stay in OUTPUT/models.
    """
    from carbonmap.stages.compare import run

    refuse_unheeded(models, [label for label, _ in loaded])
    name, grid = region_.region_of(project, region)
    report = run.compare(
        project,
        name,
        grid,
        parse_periods(dates),
        labels,
        out,
        models=models,
        loaded=loaded,
        draws=draws,
        mask=mask,
        existing=existing(overwrite),
        device=device,
    )
    show(report, as_json)
