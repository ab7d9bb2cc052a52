"""What is wrong with a project file, said by full key, with the nearest valid name."""

from __future__ import annotations

import dataclasses
import re
import types
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from carbonmap.errors import nearest

HIDDEN = ("name",)
"""Fields that the loader fills in and no file may give."""


def explain(error: ValidationError, file: str, schema: type) -> str:
    """One line for each fault: file, dotted key, what it is, what it should be.

    Args:
        error: what pydantic found.
        file: name of the file, for the message.
        schema: the dataclass that was wanted, in which valid names are looked up.
    """
    lines = [f"{file}: {_line(dict(fault), schema)}" for fault in error.errors()]
    return "\n".join(lines)


def _line(fault: dict[str, Any], schema: type) -> str:
    loc = tuple(fault["loc"])
    key = ".".join(map(str, loc))
    last = str(loc[-1]) if loc else ""
    wrong = f"{key} is {fault['input']!r}"
    match fault["type"]:
        case "unexpected_keyword_argument":
            return f"{key} is unknown; {nearest(last, _names(schema, loc[:-1]))}"
        case "missing":
            return f"{key} is missing"
        case "dataclass_type" | "dict_type":
            return f"{wrong}; it must be a table [{key}]"
        case "literal_error":
            valid = get_args(_hint(schema, loc))
            return f"{wrong}; {nearest(str(fault['input']), map(str, valid))}"
        case "value_error":
            return _whole(key, str(fault["ctx"]["error"])) or f"{wrong}; {fault['ctx']['error']}"
        case "string_pattern_mismatch":
            return f"{wrong}; it must be letters, digits, _ and -, and begin with a letter or digit"
        case _:
            return f"{wrong}; {fault['msg'].replace('Input', 'it', 1)}"


def _whole(key: str, message: str) -> str | None:
    """The message of a check over several fields; one that begins with a `field` is about that."""
    about = re.match(r"`([\w.]+)`(.*)", message, re.DOTALL)
    if about:
        return ".".join(filter(None, [key, about[1]])) + about[2]
    return f"{key} {message}" if message.startswith("needs") else None


def _names(schema: type, loc: tuple[str | int, ...]) -> list[str]:
    kind = _hint(schema, loc)
    return [f.name for f in dataclasses.fields(kind) if f.name not in HIDDEN]


def _hint(kind: Any, loc: tuple[str | int, ...]) -> Any:
    """The type at a place of the schema, None taken out of a union with None."""
    for key in loc:
        if dataclasses.is_dataclass(kind):
            kind = get_type_hints(kind)[str(key)]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        if get_origin(kind) is types.UnionType:
            kind = next(k for k in get_args(kind) if k is not types.NoneType)
    return kind
