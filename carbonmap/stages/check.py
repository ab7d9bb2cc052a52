"""`info` and `verify`: what of a folder's output is whole, by the marks that declare it so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from carbonmap import progress
from carbonmap.errors import MissingInput
from carbonmap.io import files, maps, output
from carbonmap.stages.common import Report
from carbonmap.types import Json

State = Literal["complete", "damaged", "unfinished", "unmarked"]

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
        return f"{what}: no {maps.mark_of(self.path).name} declares it whole; make it again"

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
    counts = {s: sum(one.state == s for one in found) for s in State.__args__}  # type: ignore[attr-defined]
    total = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    lines = [*(one.line() for one in found), total]
    return Report("\n".join(lines), {"whole": whole, "outputs": [one.to_json() for one in found]})


def _outputs(path: Path, thorough: bool) -> Iterator[Output]:
    """Finished output first, in the order of names, then what nothing declares whole."""
    if path.is_dir():
        marks, works, rasters = _below(path)
    else:
        mark = maps.mark_of(files.existing(path, "output"))
        rasters = [path] if path.suffix == ".tif" else []
        work = output.work_folder(mark)
        marks, works = [mark] * mark.is_file(), [work] * work.is_dir()
    declared = set()
    for mark in progress.track(marks, "checking", len(marks)) if thorough else marks:
        held = files.read_json(mark)
        if held is not None and _is_mark(held):
            declared |= {(mark.parent / name).resolve() for name in held["files"]}
            yield _finished(mark, held, thorough)
    for work in works:
        if (origin := files.read_json(work / "origin.json")) is not None:
            mark = work.parent / f"{work.name.removeprefix('.').removesuffix('.work')}.json"
            stage = str(origin.get("stage", ""))
            yield Output(mark, "unfinished", stage, parts=output.parts_done(work))
    for raster in rasters:
        if raster.resolve() not in declared and maps.is_ours(raster):
            yield Output(raster, "unmarked", bytes=raster.stat().st_size)


def _below(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """What may be marks, work folders and maps, below a folder and outside of any store."""
    marks, works, rasters = [], [], []
    for root, folders, names in os.walk(folder):
        here = Path(root)
        works += [here / f for f in folders if f.startswith(".") and f.endswith(".work")]
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and Path(f).suffix != ".zarr"
        )
        seen = [here / name for name in sorted(names) if not name.startswith(".")]
        marks += [p for p in seen if p.suffix == ".json"]
        rasters += [p for p in seen if p.suffix == ".tif"]
    return marks, sorted(works), rasters


def _is_mark(held: Json) -> bool:
    return {"format", "origin", "files", "report"} <= held.keys()


def _finished(mark: Path, held: Json, thorough: bool) -> Output:
    wrong = tuple(output.damaged(mark, by_size=not thorough))
    total = sum(int(one["size"]) for one in held["files"].values())
    stage = str(held["origin"].get("stage", ""))
    return Output(mark, "damaged" if wrong else "complete", stage, wrong, bytes=total)
