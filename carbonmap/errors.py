"""Every error that carbonmap raises on purpose; each is also the builtin that fits it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CarbonmapError(Exception):
    """Root of the hierarchy; the CLI prints its message and exits 1, without a traceback."""


class ConfigError(CarbonmapError, ValueError):
    """A setting is unknown, of the wrong type, or impossible."""


class GridError(CarbonmapError, ValueError):
    """A grid, region or coordinate reference system cannot be used."""


class GridMismatch(GridError):
    """Two rasters that must share a grid do not."""

    def __init__(
        self,
        name: str,
        *,
        got: object,
        want: object,
        todo: str = "run `carbonmap ingest` to warp it",
    ) -> None:
        super().__init__(f"{name} is not on the project grid: got {got}, want {want}; {todo}")


class InputError(CarbonmapError, ValueError):
    """A file that a user gave is not what it must be."""


class MissingInput(InputError, FileNotFoundError):
    """A file, layer or date that a command needs is not there."""


class LabelError(CarbonmapError, ValueError):
    """An inventory cannot be turned into carbon labels as it stands."""


class OutputExists(CarbonmapError, FileExistsError):
    """The output is there already, made with other settings or inputs."""


class OutputBusy(CarbonmapError, BlockingIOError):
    """Another run is writing the same output."""


class WriteError(CarbonmapError, OSError):
    """A file could not be written whole (disk full, read-only folder, quota)."""


class CorruptData(CarbonmapError, OSError):
    """Something that carbonmap wrote is damaged or incomplete."""


class ModelError(CarbonmapError, ValueError):
    """A model does not fit the data, or a model folder cannot be trusted."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A sentence that lists the valid names and guesses the one that was meant."""
    options = sorted(valid)
    plain = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(name.casefold(), plain, n=1)
    guess = f"did you mean {plain[close[0]]!r}? " if close else ""
    return f"{guess}valid: {', '.join(options)}"
