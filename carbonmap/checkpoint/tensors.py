"""Tensors by name in a safetensors file, which holds numbers and nothing that could run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from carbonmap.errors import ModelError
from carbonmap.io import files
from carbonmap.learning.names import Storage as Storage

STORAGES: tuple[str, ...] = get_args(Storage)
"""Names of `Storage`."""

MOST_HEADER = 1 << 20
"""Bytes of a header: 100 a tensor, of which our largest network has a few hundred."""

TYPES = ("F32", "F16", "BF16", "F64", "I64", "BOOL")
"""What carbonmap writes and VGG weights come in, as safetensors names it. Of others torch cannot
say whether a number is finite, or a network could not hold them."""

PICKLES = (b"\x80", b"PK\x03\x04")
"""How a pickle begins, and the zip archive in which torch puts one."""


def cast(state: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Tensors in the types that they have on the disk: weights of layers in `storage`.

    Biases and norms keep float32: they are few, and a variance may be too small for float16.
    """
    half = getattr(torch, storage)
    return {
        name: value.to(half) if value.is_floating_point() and value.dim() > 1 else value
        for name, value in state.items()
    }


def stored(state: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Tensors as they lie on the disk, by `cast`: copies on the CPU."""
    return {
        name: value.detach().cpu().contiguous().clone()
        for name, value in cast(state, storage).items()
    }


def write(path: Path, state: Mapping[str, Tensor], storage: Storage = "float32") -> Path:
    """Write tensors, whole or not at all; the same ones give the same bytes.

    Raises:
        ModelError: some number is not finite, or too large for the storage.
        WriteError: they cannot be written.
    """
    held = stored(state, storage)
    _require_finite(f"what should go to {str(path)!r} as {storage}", held, "train it anew")
    with files.partial(path) as unfinished:
        unfinished.write_bytes(save(held))
    return path


def read(path: Path) -> dict[str, Tensor]:
    """The tensors that `write` wrote, on the CPU.

    Raises:
        ModelError: the file is not in that format, damaged, or holds a number that is not finite or
            of a type that no weights have.
    """
    data = path.read_bytes()
    _require_header(str(path), data)
    try:
        held = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise ModelError(f"{path} cannot be read as a model ({error}); train it anew") from error
    _require_finite(str(path), held, "do not use this file")
    return held


def require_state(name: str, held: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not a network's, one by one.

    Args:
        name: of the file, for messages.
        held: what it holds.
        want: tensors of the same names, shapes and types.

    Raises:
        ModelError: one is missing, too many, or of another shape or type.
    """
    todo = "train the model anew"
    if missing := sorted(set(want) - set(held)):
        raise ModelError(f"{name} lacks {_some(missing)}, which its card's network has; {todo}")
    if strange := sorted(set(held) - set(want)):
        raise ModelError(f"{name} holds {_some(strange)}, which its card's network lacks; {todo}")
    for key, value in want.items():
        found = held[key]
        if (found.shape, found.dtype) != (value.shape, value.dtype):
            raise ModelError(
                f"{name} holds {key} as {found.dtype} {tuple(found.shape)}, and its card's network "
                f"has {value.dtype} {tuple(value.shape)}; {todo}"
            )


def _require_header(name: str, data: bytes) -> None:
    """Refuse what is no safetensors file before anything parses it."""
    size = int.from_bytes(data[:8], "little")
    if data.startswith(PICKLES) and size > MOST_HEADER:
        raise ModelError(
            f"{name} is not in safetensors' format but a pickle, which could run code; nothing was "
            f"loaded: do not use this file"
        )
    if not 2 <= size <= min(MOST_HEADER, len(data) - 8):
        raise ModelError(
            f"{name} is not in safetensors' format: its header would have {size:,} bytes of "
            f"{len(data):,}, and no model of ours has more than {MOST_HEADER:,}; train it anew"
        )
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} has a header that is no JSON ({error}); train it anew") from None
    if not isinstance(header, dict):
        raise ModelError(f"{name} has a header that is no table; train it anew")
    for key, told in header.items():
        found = told.get("dtype", TYPES[0]) if isinstance(told, dict) else TYPES[0]
        if key != "__metadata__" and found not in TYPES:
            raise ModelError(
                f"{name} holds {key} as {found!r}, and weights are {', '.join(TYPES)}; "
                f"do not use this file"
            )


def _require_finite(name: str, held: Mapping[str, Tensor], todo: str) -> None:
    broken = [key for key, value in held.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ModelError(f"{name} holds numbers that are not finite in {_some(broken)}; {todo}")


def _some(names: list[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
