"""What output was made from, compared with what it would be made from now."""

from __future__ import annotations

import re
from typing import Any

from carbonmap.types import Json


def differences(old: Json, new: Json) -> list[str]:
    """What changed between two origins, a line each, what stands for most first.

    ``name: before → now``, or ``name: its content changed`` for a file known by its hash.
    """
    before, now = _flatten(old), _flatten(new)
    lines: dict[str, str] = {}
    for key in sorted(before.keys() | now.keys(), key=lambda k: (k.count("."), k)):
        was, is_ = before.get(key, "absent"), now.get(key, "absent")
        if was == is_:
            continue
        if _is_hash(was) and _is_hash(is_):
            name = key.removesuffix(".sha256")
            lines.pop(f"{name}.size", None)  # of the same file
            lines[name] = f"{name}: its content changed"
        elif key.removesuffix(".size") not in lines:
            lines[key] = f"{key}: {_shown(was)} → {_shown(is_)}"
    return list(lines.values())


def _shown(value: object) -> object:
    return "none" if value is None else "a file" if _is_hash(value) else value


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _flatten(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, part in value.items():
        flat |= _flatten(part, f"{name}.{key}" if name else str(key))
    return flat
