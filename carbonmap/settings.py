"""What all settings share: how strictly they are read, and how they are written as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationInfo

from carbonmap.types import Json

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""No unknown key, no number in quotes, no 1.0 or true where a whole number belongs."""


def _resolved(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return folder / path if folder else path


T = TypeVar("T", bound="Spec")


class Spec:
    """What settings share that are kept as plain values: there and back."""

    def to_json(self) -> Json:
        """Plain values, from which `from_json` makes the equal settings."""
        return dict(json.loads(TypeAdapter(type(self)).dump_json(self)))

    @classmethod
    def from_json(cls: type[T], value: object) -> T:
        """Settings as `to_json` wrote them.

        Raises:
            ValueError: a key is unknown or a value impossible.
        """
        return TypeAdapter(cls).validate_json(json.dumps(value))


ProjectPath = Annotated[Path, AfterValidator(_resolved)]
"""A path that, where it is relative, starts at the folder of the file in which it stands."""


def to_toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A table as TOML text that reads back to the same values; None is left out.

    Args:
        table: strings, numbers, booleans, dates, paths, lists and tables of these.
        path: the keys under which the table stands in the file.
    """
    return "\n".join(_blocks(table, path))


def _blocks(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """The table's own lines under its header, then each sub-table's."""
    tables = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    lines = [
        f"{_key(k)} = {_value(v)}\n" for k, v in table.items() if v is not None and k not in tables
    ]
    header = f"[{'.'.join(map(_key, path))}]\n" if path and (lines or not tables) else ""
    if header or lines:
        yield header + "".join(lines)
    for key, value in tables.items():
        yield from _blocks(value, (*path, key))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    """One TOML value; ``repr`` of a float gives back the same float."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return float.__repr__(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Path():
            return _value(value.as_posix())
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            pairs = (f"{_key(k)} = {_value(v)}" for k, v in value.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return str(value)
