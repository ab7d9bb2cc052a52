"""A training run on the disk: the state from which it goes on, and its log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from carbonmap.checkpoint import tensors
from carbonmap.errors import CorruptData
from carbonmap.io import files, output
from carbonmap.learning import state as state_
from carbonmap.learning.learner import Learner
from carbonmap.learning.state import State
from carbonmap.types import Json

LOG = "training.jsonl"
"""One JSON object a line: steps and validations, in order."""


@dataclass(frozen=True)
class Keeper:
    """Saves a run into a folder, and finds it there again.

    Tensors come first, under the step's own name; the JSON that names them comes last, so that a
    stop between the two leaves the state before. Older tensors are then removed.

    Args:
        folder: of the work in progress.
        board: takes each line of the log too.
    """

    folder: Path
    board: Callable[[Json], None] | None = None

    @property
    def log(self) -> Path:
        """Where the log grows."""
        return self.folder / LOG

    def save(self, learner: Learner, state: State, facts: Json) -> None:
        """Keep a run as it is between two steps.

        Args:
            learner: whose networks move.
            state: the run's.
            facts: plain values that the stage wants back.

        Raises:
            WriteError: it cannot be written.
        """
        held, counters = state_.take(learner, state)
        path = tensors.write(self.folder / f"state-{state.step}.safetensors", held)
        files.write_json(
            self.folder / output.STATE,
            {"file": path.name, "sha256": files.sha256(path), "counters": counters, "facts": facts},
        )
        for old in self.folder.glob("state-*.safetensors"):
            if old != path:
                old.unlink(missing_ok=True)

    def resume(self, learner: Learner, state: State, first: bool = True) -> Json | None:
        """Put a run back as it was saved; None where none was, and nothing changes.

        The log loses what came after the save, since those steps come again.

        Args:
            learner: whose networks move.
            state: as `learning.state.begin` made it.
            first: of the processes of one run, which all read here, the one that keeps the log.

        Raises:
            CorruptData: the saved tensors are not those that were saved.
            ModelError: they are of another network.
        """
        held = files.read_json(self.folder / output.STATE)
        if held is None:
            return None
        path = self.folder / held["file"]
        if not path.is_file() or files.sha256(path) != held["sha256"]:
            raise CorruptData(
                f"{str(path)!r}, from which training would go on, is damaged; delete "
                f"{str(self.folder)!r} and train anew"
            )
        state_.restore(learner, state, tensors.read(path), held["counters"])
        if first:
            self._cut(state.step)
        return dict(held["facts"])

    def write(self, facts: Json) -> None:
        """Add a line to the log."""
        if self.board is not None:
            self.board(facts)
        with files.writing(self.log), self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(files.plain(facts), allow_nan=False) + "\n")

    def lines(self) -> Iterator[Json]:
        """The log so far; a line that a stop has torn is left out."""
        if self.log.is_file():
            for line in self.log.read_text(encoding="utf-8").splitlines():
                try:
                    yield json.loads(line)
                except ValueError:
                    return

    def _cut(self, step: int) -> None:
        kept = [line for line in self.lines() if line["step"] <= step]
        files.write_text(self.log, "".join(json.dumps(line) + "\n" for line in kept))
