"""`info` and `verify`: what of a folder's output is whole, by the marks that declare it so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from carbonmap import progress
from carbonmap.errors import InputError, MissingInput
from carbonmap.io import files, maps, output
from carbonmap.stages.common import Report
from carbonmap.types import Json

State = Literal["complete", "damaged", "unfinished", "unmarked"]

MARKS = {
    "model.json": ("weights.safetensors", "weights.skops"),
    "layer.json": ("data.zarr",),
    "labels.json": ("stands.parquet",),
    "comparison.json": ("comparison.md",),
}
"""Marks of outputs that are no single map, and files by which one is known that has lost its
mark."""

SHOWN = 5
"""Files of one output that are named when they are damaged; a layer has thousands."""


@dataclass(frozen=True)
class Output:
    """One output, or what is left of one.

    Args:
        path: its mark, its unfinished mark, or a map without one.
        state: "unfinished" while it is written or since its run stopped; "unmarked" of a map whose
            mark is gone, or was never written.
        stage: command that makes it, where it is told.
        wrong: files that are gone or no longer what was written.
        parts: tiles or other parts that an unfinished run has finished.
        bytes: of all its files.
    """

    path: Path
    state: State
    stage: str = ""
    wrong: tuple[str, ...] = ()
    parts: int = 0
    bytes: int = 0

    def line(self) -> str:
        """In words, and what to do."""
        what = f"{self.path}: {self.state}" + (f", by {self.stage}" if self.stage else "")
        if self.state == "complete":
            return f"{what}, {self.bytes / 1e6:,.1f} MB"
        if self.state == "damaged":
            more = f" and {len(self.wrong) - SHOWN} more" if len(self.wrong) > SHOWN else ""
            return (
                f"{what}: {', '.join(self.wrong[:SHOWN])}{more} gone or changed since it was "
                f"written; make it again with --overwrite"
            )
        if self.state == "unfinished":
            done = f", {self.parts:,} parts done" if self.parts else ""
            return f"{what}{done}; wait for it, or run the same command again to go on"
        return f"{what}: no mark declares it whole; make it again"

    def to_json(self) -> Json:
        """Plain values for ``--json``."""
        return {
            "path": str(self.path),
            "state": self.state,
            "stage": self.stage,
            "wrong": list(self.wrong),
            "parts": self.parts,
            "bytes": self.bytes,
        }


def check(path: Path, *, thorough: bool) -> Report:
    """Tell what of a file's or a folder's output is whole.

    Args:
        path: a map, a mark, or a folder with all below it.
        thorough: compare every byte with its hash; else sizes alone, which reads nothing.

    Returns:
        A line for each output; `Report.data` holds ``"whole"``, whether all of it is complete.

    Raises:
        MissingInput: there is nothing that carbonmap wrote.
    """
    found = list(_outputs(path, thorough))
    if not found:
        raise MissingInput(
            f"{str(path)!r} holds nothing that carbonmap wrote; give a folder of its output, a map "
            f"or a mark (.json)"
        )
    whole = all(one.state == "complete" for one in found)
    counts = {s: sum(one.state == s for one in found) for s in get_args(State)}
    total = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    lines = [*(one.line() for one in found), total]
    return Report("\n".join(lines), {"whole": whole, "outputs": [one.to_json() for one in found]})


def _outputs(path: Path, thorough: bool) -> Iterator[Output]:
    """Finished output first, in the order of names, then what nothing declares whole."""
    if path.is_dir():
        found = _below(path)
    else:
        mark = maps.mark_of(files.existing(path, "output"))
        work = output.work_folder(mark)
        rasters = [path] if path.suffix == ".tif" else []
        found = Found([mark] * mark.is_file(), [work] * work.is_dir(), rasters, [])
    held = {mark: files.read_json(mark) for mark in found.marks}
    known = {mark: one for mark, one in held.items() if one is not None and _is_mark(one)}
    declared = {(m.parent / name).resolve() for m, one in known.items() for name in one["files"]}
    heads = [mark for mark in known if mark.resolve() not in declared]  # not a part of another's
    for mark in progress.track(heads, "checking", len(heads)) if thorough else heads:
        yield _finished(mark, known[mark], thorough)
    for mark, one in held.items():
        if one is None and (mark.name in MARKS or mark.with_suffix(".tif") in found.rasters):
            yield Output(mark, "damaged", wrong=(mark.name,))
    for work in found.works:
        if (origin := files.read_json(work / "origin.json")) is not None:
            mark = work.parent / f"{work.name.removeprefix('.').removesuffix('.work')}.json"
            stage = str(origin.get("stage", ""))
            yield Output(mark, "unfinished", stage, parts=output.parts_done(work))
    for orphan in [*found.rasters, *found.orphans]:
        lost = orphan.resolve() not in declared and not maps.mark_of(orphan).is_file()
        if lost and (orphan in found.orphans or _is_ours(orphan)):
            yield Output(orphan, "unmarked", bytes=orphan.stat().st_size)


class Found(NamedTuple):
    """What may be output: marks, work folders, maps, and other products without their mark."""

    marks: list[Path]
    works: list[Path]
    rasters: list[Path]
    orphans: list[Path]


def _below(folder: Path) -> Found:
    """What may be output below a folder, outside of any store."""
    found = Found([], [], [], [])
    for root, folders, names in os.walk(folder):
        here, seen = Path(root), [name for name in sorted(names) if not name.startswith(".")]
        for mark, products in MARKS.items():
            work = output.work_folder(here / mark)
            if mark not in seen and not work.is_dir():
                found.orphans.extend(here / p for p in products if p in {*seen, *folders})
        found.works.extend(here / f for f in folders if f.startswith(".") and f.endswith(".work"))
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f[-5:] != ".zarr")
        found.marks.extend(here / name for name in seen if name.endswith(".json"))
        found.rasters.extend(here / name for name in seen if name.endswith(".tif"))
    found.works.sort()
    return found


def _is_ours(path: Path) -> bool:
    """Whether carbonmap made a raster; a file that is none, it did not."""
    try:
        return maps.is_ours(path)
    except InputError:
        return False


def _is_mark(held: Json) -> bool:
    return {"format", "origin", "files", "report"} <= held.keys()


def _finished(mark: Path, held: Json, thorough: bool) -> Output:
    wrong = tuple(output.damaged(mark, by_size=not thorough))
    total = sum(int(one["size"]) for one in held["files"].values())
    stage = str(held["origin"].get("stage", ""))
    return Output(mark, "damaged" if wrong else "complete", stage, wrong, bytes=total)
