"""A run's log for TensorBoard, beside the log that every run keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carbonmap.errors import ModelError
from carbonmap.types import Json

Write = Callable[[Json], None]
"""Takes a line of the log."""

STEP = "step"
"""Of a line: where its scalars lie along the run."""


def require() -> Callable[..., Any]:
    """Torch's writer for TensorBoard; nothing else imports it.

    Raises:
        ModelError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ModelError(
            "TensorBoard is not installed; pip install 'carbonmap[tensorboard]', or leave "
            "--tensorboard out: the log beside the model holds the same figures"
        ) from None
    return SummaryWriter


def require_folder(folder: Path) -> None:
    """Refuse what can be no folder of curves before anything is read.

    Raises:
        ModelError: it is a file, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> ModelError:
    return ModelError(
        f"--tensorboard {str(folder)!r} cannot be written ({error.strerror}); give a folder"
    )


def scalars(line: Json) -> dict[str, float]:
    """The figures of a line by name, those of a table as ``table/name``; its step is left out."""
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            found |= {f"{name}/{part}": float(figure) for part, figure in value.items()}
        elif name != STEP:
            found[name] = float(value)
    return found


@contextmanager
def board(folder: Path | None, step: int) -> Iterator[Write | None]:
    """What writes lines into a folder for TensorBoard, flushed when the block ends.

    Args:
        folder: of one run. Runs side by side want folders of their own below a common one. None
            where nobody asked.
        step: steps done; what the folder has beyond them, from a run that was stopped since it
            last saved, is hidden.

    Raises:
        ModelError: TensorBoard is not installed, or the folder cannot be written.
    """
    if folder is None:
        yield None
        return
    try:
        opened = require()(str(folder), purge_step=step + 1)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with opened as writer:

        def write(line: Json) -> None:
            for name, figure in scalars(line).items():
                writer.add_scalar(name, figure, line[STEP])

        yield write
