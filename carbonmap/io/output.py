"""One rule for output that exists: up to date, resumed, refused, or begun anew.

A stage's output is known by its mark, a JSON file written last that holds the settings and inputs
it was made from and the size and hash of every file. Work in progress lies in a hidden folder
beside the mark, with the same settings and a journal of finished tiles.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

from carbonmap import origins
from carbonmap.errors import CarbonmapError, CorruptData, MissingInput, OutputBusy, OutputExists
from carbonmap.io import files
from carbonmap.types import Json

STATE = "state.json"
"""What work in progress that is no row of tiles goes on from."""

REPLACED = "replaced.json"
"""The old mark while its output is being replaced."""

FORMAT = 1
"""Version of the mark's own layout."""

SHOWN = 12
"""Differences that a refusal lists; a carbon profile has hundreds of parameters."""

TRIES = 10
"""For a folder that another run removes: it does so once, so a second try is enough."""

TURN_S = 60
"""Longest wait for a catalogue to be written, which takes milliseconds a layer."""


class Existing(StrEnum):
    """What to do about finished output that was made with other settings or inputs."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    RENEW = "renew"


@dataclass(frozen=True)
class Work:
    """A stage's unfinished output: where its parts lie and which are done."""

    mark: Path
    folder: Path
    origin: Json
    done: dict[str, Json]

    def record(self, tile: str, facts: Json) -> None:
        """Add a finished tile to the journal, on the disk before this returns."""
        journal = self.folder / "journal.jsonl"
        with files.writing(journal), journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"tile": tile, **facts}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.done[tile] = facts

    def begin_publishing(self) -> None:
        """Withdraw the old mark, so that a crash between two renames never looks complete.

        Marks of single maps go after it; what the old run wrote and this one does not is removed at
        the end, by the list that is kept here.
        """
        replaced = self.folder / REPLACED
        with files.writing(self.mark):
            if self.mark.is_file():
                os.replace(self.mark, replaced)
                files.sync_folder(self.mark.parent)
            for path in _listed(replaced, self.mark.parent):
                if path.suffix == ".json":
                    path.unlink(missing_ok=True)

    def finish(self, products: Sequence[Path], report: Json) -> None:
        """Write the mark: the output is complete from here on."""
        root = self.mark.parent
        held = {os.path.relpath(p, root).replace(os.sep, "/"): files.describe(p) for p in products}
        for stale in set(_listed(self.folder / REPLACED, root)) - {root / name for name in held}:
            stale.unlink(missing_ok=True)
        write_mark(self.mark, self.origin, held, report)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def claim(
    mark: Path, origin: Json, existing: Existing = Existing.REFUSE, *, by_size: bool = False
) -> Iterator[Work | None]:
    """Take an output for writing.

    Args:
        mark: the JSON file that will declare the output complete.
        origin: settings and input hashes, plain JSON values.
        existing: what to do about output of another origin.
        by_size: judge finished files by their sizes, where reading them all takes long.

    Yields:
        None where the output is complete and of the same origin; else the work to do, with the
        tiles that an interrupted run of the same origin finished.

    Raises:
        OutputBusy: another process is writing it.
        OutputExists: it is there, from other settings or inputs, complete or begun.
        WriteError: nothing can be written there.
    """
    files.require_readable_name(mark, "output")
    origin = json.loads(json.dumps(origin))
    folder = work_folder(mark)
    with files.writing(mark):
        begun = folder.exists()
    if not begun and _is_up_to_date(mark, origin, existing, by_size):
        yield None  # nothing is touched, so this holds in a read-only folder as well
        return
    with _lock(mark, folder):
        try:
            with files.writing(mark):
                work = _admit(mark, folder, origin, existing, by_size)
        except CarbonmapError:
            if not (folder / "origin.json").exists():  # nothing was begun here
                shutil.rmtree(folder, ignore_errors=True)
            raise
        yield work


def work_folder(mark: Path) -> Path:
    """Where work in progress lies that this mark will declare complete."""
    return mark.parent / f".{mark.stem}.work"


def _is_up_to_date(mark: Path, origin: Json, existing: Existing, by_size: bool) -> bool:
    """Whether there is nothing to do; of another origin and not to be replaced, it is refused."""
    finished = files.read_json(mark)
    if finished is None or existing is Existing.OVERWRITE:
        return False
    if finished.get("origin") == origin:
        return not damaged(mark, by_size=by_size)
    if existing is Existing.REFUSE:
        raise OutputExists(_refusal(mark, finished.get("origin"), origin))
    return False


@contextlib.contextmanager
def _lock(mark: Path, folder: Path) -> Iterator[None]:
    """Hold an output alone, in its work folder."""
    lock = FileLock(folder / "lock")
    with files.writing(mark):
        try:
            _take(lock, folder)
        except Timeout:
            raise OutputBusy(
                f"{str(mark)!r} is being written by another run ({_owner(folder)}); wait for it, "
                f"or write elsewhere"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _take(lock: FileLock, folder: Path) -> None:
    """Make the folder and lock it, again where another run that ends is just removing it."""
    for left in reversed(range(TRIES)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except (FileNotFoundError, FileExistsError):
            if not left:
                raise
        else:
            return


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait for other runs' turns at something that each of them writes quickly and whole.

    Raises:
        WriteError: the lock cannot be written.
        OutputBusy: another run has held it for longer than such work takes.
    """
    lock = FileLock(path)
    with files.writing(path):
        try:
            lock.acquire(timeout=TURN_S)
        except Timeout:
            raise OutputBusy(
                f"{str(path)!r} has been held for {TURN_S} s; is a run stuck?"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _listed(mark: Path, root: Path | None = None) -> list[Path]:
    """The files that a mark declares, those that lie beside it and below; none where it is gone."""
    folder = root or mark.parent
    named = (files.read_json(mark) or {}).get("files", {})
    paths = [folder / name for name in named]
    return [p for p in paths if p.resolve().is_relative_to(folder.resolve())]


def write_mark(mark: Path, origin: Json, held: Json, report: Json) -> None:
    """Declare files complete: their origin, sizes and hashes, and what they amount to."""
    files.write_json(mark, {"format": FORMAT, "origin": origin, "files": held, "report": report})


def _admit(
    mark: Path, folder: Path, origin: Json, existing: Existing, by_size: bool
) -> Work | None:
    folder.mkdir(parents=True, exist_ok=True)
    if _is_up_to_date(mark, origin, existing, by_size):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    begun = files.read_json(folder / "origin.json")
    if begun not in (None, origin) and existing is Existing.REFUSE and _has_work(folder):
        raise OutputExists(_refusal(mark, begun, origin, state="unfinished output"))
    if begun != origin or existing is Existing.OVERWRITE:
        _clear(folder)
    for left in folder.rglob(f".*{files.CONTESTED}*"):  # of a process that was killed
        left.unlink(missing_ok=True)
    files.write_json(folder / "origin.json", origin)
    files.write_text(folder / "owner", f"process {os.getpid()} on {platform.node()}\n")
    return Work(mark, folder, origin, _journal(folder))


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in ("lock", REPLACED):
            entry.unlink()


def _has_work(folder: Path) -> bool:
    return bool(_journal(folder)) or (folder / STATE).is_file()


def _journal(folder: Path) -> dict[str, Json]:
    """Finished tiles; a line that a crash cut short is a tile to do again."""
    done: dict[str, Json] = {}
    path = folder / "journal.jsonl"
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                facts = json.loads(line)
                done[facts.pop("tile")] = facts
    return done


def parts_done(folder: Path) -> int:
    """How many parts work in progress has finished."""
    return len(_journal(folder))


def _owner(folder: Path) -> str:
    try:
        return (folder / "owner").read_text(encoding="utf-8").strip()
    except OSError:
        return "it has just begun"


def _refusal(mark: Path, old: object, new: Json, state: str = "output") -> str:
    lines = origins.differences(old if isinstance(old, dict) else {}, new)
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"and {len(lines) - SHOWN} more differences"]
    return (
        f"{str(mark.parent)!r} holds {state} of other settings or inputs ({mark.name}):\n  "
        + "\n  ".join(lines)
        + "\ngive --overwrite to begin anew, or keep it and write elsewhere"
    )


def damaged(mark: Path, *, by_size: bool = False) -> list[str]:
    """The files of a finished output that are gone or no longer what was written.

    Args:
        mark: the file that declares the output complete.
        by_size: compare sizes alone, which costs no reading.
    """
    finished = files.read_json(mark)
    if finished is None:
        return [mark.name]
    wrong = []
    for name, known in finished.get("files", {}).items():
        path = mark.parent / name
        if (
            not path.is_file()
            or path.stat().st_size != known["size"]
            or (not by_size and files.sha256(path) != known["sha256"])
        ):
            wrong.append(name)
    return wrong


def require_complete(mark: Path, what: str) -> Json:
    """The mark of an output that another stage needs.

    Raises:
        MissingInput: it was never finished.
        CorruptData: a file of it is gone or changed.
    """
    finished = files.read_json(mark)
    if finished is None and mark.is_file():
        raise CorruptData(
            f"{what} {str(mark.parent)!r}: {mark.name} is damaged and cannot be read as JSON; "
            f"fetch it again, or make it again with --overwrite"
        )
    if finished is None:
        raise MissingInput(
            f"{what} {str(mark.parent)!r} is not there or incomplete (no {mark.name}); "
            f"run the command that makes it, to its end"
        )
    if wrong := damaged(mark):
        raise CorruptData(
            f"{what} {str(mark.parent)!r}: {', '.join(wrong)} gone or changed since it was "
            f"written; fetch it again, or make it again with --overwrite"
        )
    return finished
