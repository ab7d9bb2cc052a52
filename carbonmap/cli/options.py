"""What the commands share: the options, the settings, the exit codes."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from carbonmap import config, progress
from carbonmap.errors import CarbonmapError, ConfigError
from carbonmap.io import files
from carbonmap.io.output import Existing
from carbonmap.project import Project
from carbonmap.stages.common import Report

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM: 128 + SIGINT, as shells have it."""

INCOMPLETE = 3
"""Exit code of work that ended but left something out, under --keep-going."""

PATH = click.Path(path_type=Path, readable=False)
"""A path as given. What is wrong with it is said by the code that opens it, with exit code 1."""

F = TypeVar("F", bound=Callable[..., Any])


class Group(click.Group):
    """A group whose commands fail with one message and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and turn what it raises into an exit code."""
        token = progress.shown.set(not ctx.find_root().params.get("quiet", False))
        try:
            return super().invoke(ctx)
        except CarbonmapError as error:
            click.echo(f"carbonmap: error: {error}", err=True)
            ctx.exit(1)
        except OSError as error:  # a disk, a permission, a name: the system's words say which
            if error.errno == errno.EPIPE:
                raise  # click ends quietly when the reader of a pipe has gone
            click.echo(f"carbonmap: error: the system reports: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("carbonmap: interrupted; run the same command again to go on", err=True)
            ctx.exit(INTERRUPTED)
        finally:
            progress.shown.reset(token)


class ProjectCommand(click.Command):
    """A command that needs none of its arguments when it only prints the settings."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with nothing required under ``--print-config``."""
        required = [p for p in self.params if p.required and "--print-config" in args]
        for parameter in required:
            parameter.required = False
        try:
            return super().parse_args(ctx, args)
        finally:
            for parameter in required:
                parameter.required = True


def with_project(
    *,
    trains: bool = False,
    deaf: Mapping[str, str] | None = None,
    heeds: Sequence[str] = (),
    **settings: Sequence[str],
) -> Callable[[F], F]:
    """The options by which a command finds its settings, and those settings, its own applied.

    Args:
        trains: whether ``--steps`` and ``--minutes`` are among its options.
        deaf: parts of the project that the command would ignore, and what to give instead.
        heeds: parts of those that it does not ignore.
        settings: by name of a part of the project, the command's options that replace its values;
            the command itself sees them in the project alone.
    """

    def apply(function: F) -> F:
        @functools.wraps(function)
        def command(
            config_path: Path | None, overrides: Sequence[str], print_config: bool, **rest: Any
        ) -> None:
            for part, todo in (deaf or {}).items():
                keys = [text.partition("=")[0].strip() for text in overrides]
                if any(
                    _is_in(key, part) and not any(_is_in(key, h) for h in heeds) for key in keys
                ):
                    raise ConfigError(f"--set {part}.… says nothing to this command; {todo}")
            project = config.load(config_path, overrides)
            for part, names in settings.items():
                given = {name: rest.pop(name) for name in names}
                changed = config.changed(getattr(project, part), **given)
                project = config.changed(project, **{part: changed})
            if trains:
                project = _with_training(project, rest.pop("steps"), rest.pop("minutes"))
            if print_config:
                click.echo(config.dump(project))
            else:
                function(project, **rest)

        return config_options(command)  # type: ignore[return-value]

    return apply


def _with_training(project: Project, steps: int | None, minutes: float | None) -> Project:
    """The project with a length of training.

    Raises:
        ConfigError: both are given.
    """
    if steps is not None and minutes is not None:
        raise ConfigError("--steps and --minutes both say how long to train; give one of them")
    training = config.changed(project.model.training, steps=steps, minutes=minutes)
    if steps is not None:
        training = dataclasses.replace(training, minutes=None)
    return config.changed(project, model=config.changed(project.model, training=training))


def _is_in(key: str, part: str) -> bool:
    """Whether a dotted key is a part of the project, or in it."""
    return key == part or key.startswith(f"{part}.")


def options(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several options as one decorator."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


config_options = options(
    click.option(
        "--config",
        "config_path",
        type=PATH,
        help="Project file; ./carbonmap.toml where it is not given.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set any value of the project file, as in labels.profile=ipcc.",
    ),
    click.option("--print-config", is_flag=True, help="Print the settings that hold, and stop."),
)
region_option = click.option(
    "--region", metavar="NAME", help="Region of the project file, or built in."
)
dates_option = click.option(
    "--dates",
    metavar="DATES",
    required=True,
    help="Months, days or ranges: 2020-02,2020-05 or 2020-02/2020-06.",
)
mask_option = click.option("--mask", type=PATH, help="Forest mask made by `carbonmap mask`.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Begin anew where output of other settings exists."
)


def output_option(default: str, what: str) -> Callable[[F], F]:
    """``-o``, with the command's default."""
    return click.option(
        "-o",
        "--output",
        "out",
        type=PATH,
        default=default,
        show_default=True,
        help=what,
    )


def show(report: Report, as_json: bool = False) -> None:
    """Print a stage's report and set the exit code of an incomplete one."""
    ascii_only = "utf" not in str(getattr(sys.stdout, "encoding", None)).lower()
    click.echo(
        json.dumps(files.plain(report.data), indent=2, ensure_ascii=ascii_only, allow_nan=False)
        if as_json
        else str(report)
    )
    if report.incomplete:
        click.get_current_context().exit(INCOMPLETE)


def existing(overwrite: bool) -> Existing:
    """What to do about finished output: pipelines renew it, --overwrite replaces it."""
    if overwrite:
        return Existing.OVERWRITE
    return click.get_current_context().find_object(Existing) or Existing.REFUSE


def stop(_number: int, _frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C: with the journal whole and exit code 130."""
    raise KeyboardInterrupt
