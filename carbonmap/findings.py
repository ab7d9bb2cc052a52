"""Problems of an inventory, and how they are told to its owner.

A problem is repairable, then it is repaired and said so; or it is not, then the run stops with one
message that lists every such problem, or goes on without those stands where the user asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from carbonmap.errors import LabelError
from carbonmap.types import Bool, Ints

SHOWN = 10
"""Ids that one message lists before it counts the rest."""


class Kind(StrEnum):
    """Names of problems, as reports and messages give them."""

    DUPLICATED_ID = "duplicated id"
    MISSING_ID = "missing id"
    TEXT = "text in a number field"
    NUMBER_AS_TEXT = "number stored as text"
    NODATA_VOLUME = "nodata-like volume"
    NEGATIVE_VOLUME = "negative volume"
    IMPLAUSIBLE_VOLUME = "implausible volume"
    HIGH_VOLUME = "very high volume"
    MISSING_VOLUME = "missing volume"
    NO_OUTLINE = "empty geometry"
    NOT_A_POLYGON = "not a polygon"
    BROKEN_COORDINATES = "broken coordinates"
    INVALID_OUTLINE = "invalid geometry"
    REPEATED = "repeated polygon"
    OVERLAP = "overlap"
    BORDER_OVERLAP = "border overlap"
    AREA_DIFFERS = "area differs"


@dataclass(frozen=True)
class Problem:
    """One kind of fault, with everything it befell.

    Args:
        kind: what is wrong.
        ids: the stands, as the inventory calls them.
        detail: figures, and what was or must be done about it.
        repairable: it was repaired, or does no harm; else it stops the run.
    """

    kind: Kind
    ids: tuple[str, ...]
    detail: str
    repairable: bool

    def __str__(self) -> str:
        return f"{self.kind}: {_count(len(self.ids))} ({listed(self.ids)}): {self.detail}"


@dataclass
class Findings:
    """Problems in the order in which they were found, and the stands that fall out with them."""

    ids: NDArray[np.object_]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: Bool = field(init=False)

    def __post_init__(self) -> None:
        self.dropped = np.zeros(len(self.ids), dtype=bool)

    def repaired(self, kind: Kind, rows: Bool | Ints, detail: str) -> None:
        """Record a problem that is mended or harmless; nothing happens where no row has it."""
        self._add(kind, rows, detail, repairable=True)

    def refused(
        self, kind: Kind, rows: Bool | Ints, detail: str, drop: Bool | Ints | None = None
    ) -> None:
        """Record a problem that stops the run; `drop` are the stands that going on leaves out.

        Args:
            kind: what is wrong.
            rows: the stands it befell, a mask or places.
            detail: as in `Problem`.
            drop: the stands that ``--keep-going`` leaves out; all of `rows` by default.
        """
        self._add(kind, rows, detail, repairable=False)
        self.dropped[rows if drop is None else drop] = True

    def _add(self, kind: Kind, rows: Bool | Ints, detail: str, *, repairable: bool) -> None:
        ids = tuple(map(str, self.ids[rows]))
        if ids:
            self.problems.append(Problem(kind, ids, detail, repairable))

    def settle(self, name: str, *, keep_going: bool) -> Bool:
        """The stands that stay.

        Raises:
            LabelError: there are problems that carbonmap cannot repair, and the user did not ask to
                go on without them; or nothing is left.
        """
        fatal = [p for p in self.problems if not p.repairable]
        if fatal and not keep_going:
            raise LabelError(
                f"inventory {name!r} has {len(fatal)} {_kinds(len(fatal))} that carbonmap cannot "
                f"repair:\n" + "\n".join(f"  {p}" for p in fatal) + "\n"
                "correct them in the inventory, or give --keep-going to leave those stands out "
                "(of a repeated polygon the first stays, overlapping stands stay)"
            )
        if self.dropped.all():
            raise LabelError(f"inventory {name!r} has no usable stand left")
        return ~self.dropped


def listed(names: Iterable[str]) -> str:
    """Names with commas, at most `SHOWN` of them and a count of the rest."""
    all_ = tuple(names)
    rest = len(all_) - SHOWN
    return ", ".join(all_[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _count(n: int) -> str:
    return f"{n} stand" + ("" if n == 1 else "s")


def _kinds(n: int) -> str:
    return "kind of problem" if n == 1 else "kinds of problems"
