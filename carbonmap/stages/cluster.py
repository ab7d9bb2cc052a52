"""Processes that compute tiles: a few of this machine, or a dask cluster's anywhere.

What is sent is a function and plain values; tiles are read from and written to the disk that all
processes share. A process that dies takes nothing with it: its tiles are given to another.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from carbonmap.cores import cpu_threads
from carbonmap.errors import CarbonmapError, ConfigError, MissingInput

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

AHEAD = 2
"""Tiles that are given to each process at a time: one to compute and one to go on with at once."""

PATIENCE = "60s"
"""How long a scheduler may take to answer."""

Part = TypeVar("Part")

Result = TypeVar("Result")


class Failure(NamedTuple):
    """An error that a process met and that its user should read here: only its words travel."""

    text: str


def require_possible(workers: int | None, scheduler: str | None, device: str | None) -> None:
    """Refuse processes that could not be had, before anything is read.

    Raises:
        ConfigError: both sorts are asked for, fewer than one, or several on one GPU.
    """
    if workers is not None and scheduler is not None:
        raise ConfigError("--workers begins processes here, --scheduler asks others'; give one")
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers} are no processes; give 1 or more")
    if workers is not None and workers > 1 and device not in (None, "cpu"):
        raise ConfigError(
            f"--workers {workers} would crowd {device}, which one process fills; leave it out"
        )


@contextlib.contextmanager
def processes(workers: int | None, scheduler: str | None) -> Iterator[Client | None]:
    """The processes that a user asked for, until the block ends; None for this process alone.

    Args:
        workers: how many of this machine's own; None or 1 for this process.
        scheduler: address of a running dask scheduler, as in ``tcp://10.0.0.1:8786``.

    Raises:
        MissingInput: nothing answers at the address.
    """
    if scheduler is None and workers in (None, 1):
        yield None
        return
    from distributed import Client  # only now: it takes half a second

    # what matters of its many words is raised
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is None:
        with _own(workers or 1) as own, Client(own) as client:
            yield client
        return
    try:
        found = Client(scheduler, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise MissingInput(
            f"no dask scheduler answers at {scheduler!r} ({error}); start one by `dask scheduler`, "
            f"or give its address, as in tcp://10.0.0.1:8786"
        ) from error
    with found:
        yield found


@contextlib.contextmanager
def _own(workers: int) -> Iterator[LocalCluster]:
    """Processes of this machine, one tile each at a time; what they spill goes with them."""
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory(prefix="carbonmap-") as scratch,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=scratch,
        ) as own,
    ):
        yield own


def elsewhere(
    client: Client, one: Callable[[Part], Result | Failure], left: Sequence[Part]
) -> Iterator[Result]:
    """What `one` gives for every part, as other processes end them, in whatever order that is.

    Args:
        client: of the processes.
        one: a picklable function that catches what a user should read; see `caught`.
        left: the parts, picklable and small.

    Raises:
        CarbonmapError: a part failed, or took several processes with it.
    """
    from distributed import KilledWorker, as_completed

    waiting = iter(left)
    ahead = AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    given: dict[Any, Part] = {}

    def give(count: int) -> list[Any]:
        found = [(client.submit(one, part, pure=False), part) for part in _some(waiting, count)]
        given.update(found)
        return [future for future, _ in found]

    done = as_completed(give(ahead))
    try:
        for future in done:
            part = given.pop(future)
            try:
                result = future.result()
            except KilledWorker as error:
                raise CarbonmapError(
                    f"{part} ended {error.allowed_failures + 1} processes one after the other, as "
                    f"a part does that needs more memory than they have; give fewer --workers, or "
                    f"workers with more memory; what is finished is kept"
                ) from error
            if isinstance(result, Failure):
                raise CarbonmapError(result.text)
            yield result
            for more in give(1):
                done.add(more)
    finally:
        client.cancel(list(given), force=True)


def caught(one: Callable[[Part], Result], part: Part) -> Result | Failure:
    """Call a function, an error on purpose turned into words: its class may not survive the way."""
    try:
        return one(part)
    except CarbonmapError as error:
        return Failure(str(error))


def threads_each(workers: int | None) -> int:
    """Threads of each of so many processes of this machine."""
    return max(1, cpu_threads() // (workers or 1))


def _some(parts: Iterator[Part], count: int) -> list[Part]:
    return list(itertools.islice(parts, count))
