"""Which scenes make a period's image, whether they go together, and what it is known by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic.dataclasses import dataclass as settings

from carbonmap.composite import NO_SOURCE, Preference
from carbonmap.dates import days_between, in_period, middle_day
from carbonmap.errors import ConfigError, GridMismatch, InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.harmonise import Harmonising
from carbonmap.io import files, scenes, store
from carbonmap.io.scenes import SceneInfo
from carbonmap.io.store import LayerInfo
from carbonmap.settings import STRICT
from carbonmap.types import Json


@settings(frozen=True, config=STRICT)
class MosaicOptions:
    """How scenes are composed.

    Args:
        preference: which scene's pixel is taken.
        harmonise: whether scenes are brought to one radiometry before, by their overlaps.
        harmonising: how far they may be moved.
    """

    preference: Preference = field(default_factory=Preference)
    harmonise: bool = True
    harmonising: Harmonising = field(default_factory=Harmonising)

    def to_json(self) -> Json:
        """As output remembers them; of what is not used nothing."""
        preference = dataclasses.asdict(self.preference)
        how = dataclasses.asdict(self.harmonising) if self.harmonise else None
        return {"preference": preference, "harmonising": how}


@dataclass(frozen=True)
class Plan:
    """One image to be made.

    Args:
        period: month, day or range of days.
        grid: the region's.
        folders: of the scenes.
        infos: the scenes, in the order of their ids, by which they are numbered.
        marks: hash of each scene's mark, which holds those of all its files.
    """

    period: str
    grid: Grid
    folders: tuple[Path, ...]
    infos: tuple[SceneInfo, ...]
    marks: tuple[str, ...]

    @property
    def layer(self) -> LayerInfo:
        """The image as a layer, dated by the period's middle day."""
        first, ids = self.infos[0], tuple(info.id for info in self.infos)
        day = middle_day(self.period)
        return LayerInfo(
            "image", self.grid, first.bands, "1", first.long_name, day,
            period=self.period, scenes=ids,
        )  # fmt: skip

    @property
    def days(self) -> list[int]:
        """From the middle day to each scene."""
        return [days_between(middle_day(self.period), info.day) for info in self.infos]

    def origin(self, options: MosaicOptions) -> Json:
        """All that the image depends on."""
        return {
            "stage": "mosaic",
            "period": self.period,
            "region": self.grid.to_json(),
            "options": options.to_json(),
            "scenes": {i.id: mark for i, mark in zip(self.infos, self.marks, strict=True)},
        }

    def require_unchanged(self) -> None:
        """Refuse what was read while another run wrote a scene anew.

        Raises:
            InputError: a scene's mark is gone or another.
        """
        for folder, info, mark in zip(self.folders, self.infos, self.marks, strict=True):
            path = folder / scenes.MARK
            if not path.is_file() or files.sha256(path) != mark:
                raise InputError(
                    f"scene {info.id} was ingested anew while it was read; run the same command "
                    f"again once that has ended"
                )


def plans(archive: Path, region: str, grid: Grid, periods: Sequence[str]) -> list[Plan]:
    """One plan a period.

    Raises:
        MissingInput: a period has no scene.
        InputError: its scenes are of different kinds.
        GridMismatch: a scene, or another layer of the region, lies on another grid.
        ConfigError: two periods have one middle day, by which their images are named.
    """
    periods = list(dict.fromkeys(periods))
    found = [_plan(archive, region, grid, period) for period in periods]
    days = [middle_day(period) for period in periods]
    if twice := sorted({day for day in days if days.count(day) > 1}):
        both = [p for p, day in zip(periods, days, strict=True) if day == twice[0]]
        raise ConfigError(
            f"--dates: the middle of {' and of '.join(both)} is {twice[0]}, by which an image is "
            f"named; make one of them in a project of its own"
        )
    for path, info in store.layers(archive, region):
        if info.grid != grid and info.date not in days:
            raise GridMismatch(
                f"region {region!r} of the project",
                got=grid,
                want=f"{info.grid}, on which {str(path)!r} lies",
                todo=f"name the new region otherwise, or delete {str(archive / region)!r} and "
                f"ingest everything anew",
            )
    return found


def _plan(archive: Path, region: str, grid: Grid, period: str) -> Plan:
    every = scenes.scenes(archive, region)
    chosen = sorted((i.id, path, i) for path, i in every if in_period(i.day, period))
    if not chosen:
        days = ", ".join(sorted({info.day for _, info in every})) or "none"
        raise MissingInput(
            f"region {region!r} has no scene of {period}; days of the scenes there: {days}; run "
            f"`carbonmap ingest gf1` first, or name other dates"
        )
    if len(chosen) >= NO_SOURCE:
        raise InputError(f"{period} has {len(chosen):,} scenes; name a shorter range of days")
    infos = tuple(info for *_, info in chosen)
    _require_alike(infos, period)
    for info in infos:
        if info.grid.intersection(grid) != info.grid or not grid.same_lattice(info.grid):
            raise GridMismatch(
                f"scene {info.id}",
                got=info.grid,
                want=f"a part of {grid}",
                todo="set the region back, or ingest the scene's product again",
            )
    folders = tuple(path for _, path, _ in chosen)
    return Plan(period, grid, folders, infos, tuple(files.sha256(f / scenes.MARK) for f in folders))


def _require_alike(infos: Sequence[SceneInfo], period: str) -> None:
    """Refuse to mix what does not mean the same.

    Raises:
        InputError: scenes hold other quantities or bands, or were corrected otherwise.
    """
    kinds: dict[str, list[str]] = {}
    for info in infos:
        how = f" ({info.corrections})" if info.corrections else ""
        kinds.setdefault(f"{info.long_name}{how} of {', '.join(info.bands)}", []).append(info.id)
    if len(kinds) > 1:
        told = "; ".join(
            f"{kind}: {', '.join(ids[:3])}" + (f" and {len(ids) - 3} more" if ids[3:] else "")
            for kind, ids in sorted(kinds.items())
        )
        raise InputError(
            f"scenes of {period} cannot be mixed ({told}); ingest them alike, with --overwrite"
        )
