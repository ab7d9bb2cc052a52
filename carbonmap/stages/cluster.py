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
    from distributed import Client as Client
    from distributed import LocalCluster

AHEAD = 2
"""Tiles that are given to each process at a time: one to compute and one to go on with at once."""

PATIENCE_S = 60
"""How long a scheduler may take to answer, or to have its first worker."""

Part = TypeVar("Part")

Result = TypeVar("Result")


class Failure(NamedTuple):
    """An error that a process met and that its user should read here: only its words travel."""

    text: str


def require_possible(workers: int | None, scheduler: str | None) -> None:
    """Refuse processes that could not be had, before anything is read.

    Raises:
        ConfigError: both sorts are asked for, or fewer than one.
    """
    if workers is not None and scheduler is not None:
        raise ConfigError("--workers begins processes here, --scheduler asks others'; give one")
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers} are no processes; give 1 or more")


def require_cpu(workers: int | None, device: str) -> None:
    """Refuse to share a GPU, which one process fills.

    Raises:
        ConfigError: several processes would.
    """
    if workers is not None and workers > 1 and device != "cpu":
        raise ConfigError(
            f"--workers {workers} would crowd {device}, which one process fills; leave it out, or "
            f"give --scheduler a worker for each GPU"
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
        with _own(workers or 1) as own, Client(own, set_as_default=False) as client:
            yield client
        return
    try:
        found = Client(scheduler, timeout=f"{PATIENCE_S}s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise MissingInput(
            f"no dask scheduler answers at {scheduler!r} ({error}); start one by `dask scheduler`, "
            f"or give its address, as in tcp://10.0.0.1:8786"
        ) from error
    with found:
        try:
            found.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError as error:
            raise MissingInput(
                f"the scheduler at {scheduler!r} has no worker; start some by `dask worker "
                f"{scheduler}`"
            ) from error
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
    given: dict[Any, Part] = {}

    def give() -> list[Any]:
        """As many more as keep all processes busy that there are by now."""
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        parts = itertools.islice(waiting, max(0, AHEAD * max(1, workers) - len(given)))
        found = {client.submit(one, part, pure=False): part for part in parts}
        given.update(found)
        return list(found)

    done = as_completed(give(), loop=client.loop)
    try:
        for future in done:
            part = given.pop(future)
            try:
                result = future.result()
            except KilledWorker as error:
                raise CarbonmapError(
                    f"{_name(part)} ended {error.allowed_failures + 1} processes one after the "
                    f"other, as a part does that needs more memory than they have; give fewer "
                    f"--workers, or workers with more memory; what is finished is kept"
                ) from error
            except Exception as error:  # a scheduler that is gone, a worker without carbonmap, …
                raise CarbonmapError(
                    f"{_name(part)} was not computed: {type(error).__name__}: {error}; mend that, "
                    f"and run the same command again: what is finished is kept"
                ) from error
            if isinstance(result, Failure):
                raise CarbonmapError(result.text)
            yield result
            for more in give():
                done.add(more)
    finally:
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            client.cancel(list(given), force=True)


def caught(one: Callable[[Part], Result], part: Part) -> Result | Failure:
    """Call a function, an error on purpose turned into words: its class may not survive the way."""
    try:
        return one(part)
    except CarbonmapError as error:
        return Failure(str(error))


def threads_each(workers: int | None, scheduler: str | None, threads: int | None) -> int | None:
    """Threads of each process, None for every core.

    Args:
        workers: processes of this machine, which share its cores.
        scheduler: of others, each of which has one unless it was given more.
        threads: that the settings allow, None for every core.
    """
    if scheduler is not None:
        return threads or 1
    if workers is None:
        return threads
    share = max(1, cpu_threads() // workers)
    return share if threads is None else min(share, threads)


def _name(part: object) -> str:
    return f"tile {getattr(part, 'name', part)}"
