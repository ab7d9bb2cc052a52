"""How far long work has come, on stderr; silent unless the command line asks for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

PLAIN_EVERY_S = 10.0
"""Seconds between lines where stderr is no terminal: enough to see life, few enough for a log."""

shown: ContextVar[bool] = ContextVar("shown", default=False)
"""Whether to show anything; a library must not write to its caller's terminal."""


def track(items: Iterable[T], what: str, total: int, done: int = 0) -> Iterator[T]:
    """The items, one by one, while a bar or lines say how many are done.

    Args:
        items: those that are left.
        what: is being done.
        total: how many there are in all.
        done: of them, by an earlier run.
    """
    if not shown.get() or total < 1:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, what, total, done)
    else:
        yield from _lines(items, what, total, done)


def _bar(items: Iterable[T], what: str, total: int, done: int) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


def _lines(items: Iterable[T], what: str, total: int, done: int) -> Iterator[T]:
    last = time.monotonic()
    for number, item in enumerate(items, done + 1):
        yield item
        if time.monotonic() - last >= PLAIN_EVERY_S:
            last = time.monotonic()
            print(f"{what}: {number} of {total}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """A line for people, on stderr."""
    if shown.get():
        print(text, file=sys.stderr, flush=True)
