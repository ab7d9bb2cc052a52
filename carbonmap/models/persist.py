"""A fitted estimator as bytes that hold data and no code, the same bytes for the same estimator."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray

from carbonmap.errors import ModelError

TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
"""Types of our own estimators that skops does not trust by itself: both hold arrays of nodes."""

NODE_FIELDS = (("left_child", "right_child", "feature"), ("left", "right", "feature_idx"))
"""What the two kinds of node call their children and the feature they ask."""

MOST_BYTES = 4 << 30
"""Largest estimator unpacked: ours take far below 1 GB, and a crafted one must not fill memory."""

SCHEMA = "schema.json"
"""The member of skops' archive that describes the others."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can hold."""


def to_bytes(estimator: Any) -> bytes:
    """The estimator in skops' format, without pickle.

    skops names the parts by their address in memory and dates them; here they are numbered in the
    order of their appearance and undated, so that a model made twice is the same file.
    """
    source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator)))
    names: dict[str, str] = {}
    schema = _numbered(json.loads(source.read(SCHEMA)), {}, names)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        target.writestr(_member(SCHEMA), json.dumps(schema))
        for old, new in names.items():
            target.writestr(_member(new), source.read(old))
    return out.getvalue()


def from_bytes(data: bytes, name: str) -> Any:
    """The estimator that `to_bytes` wrote.

    Args:
        data: the file's bytes.
        name: of the file, for messages.

    Raises:
        ModelError: it is not in skops' format, holds types that we do not write, or is damaged.
    """
    _require_archive(data, name)
    try:
        strange = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
        if strange:
            raise ModelError(
                f"{name} holds types that no model of ours has, which could run code: "
                f"{', '.join(strange)}; nothing was loaded: do not use this file"
            )
        estimator = skops.io.loads(data, trusted=list(TRUSTED))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{name} cannot be read as a model ({error}); train it anew") from error
    for nodes in _nodes(estimator):
        _require_sound(nodes, estimator.n_features_in_, name)
    return estimator


def _require_archive(data: bytes, name: str) -> None:
    """Refuse what is no zip archive, and one that unpacks to more than any model of ours."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        kind = "a pickle, which could run code" if data[:1] == b"\x80" else "something else"
        raise ModelError(
            f"{name} is not in skops' format but {kind}; nothing was loaded: train the model anew"
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MOST_BYTES:
        raise ModelError(
            f"{name} unpacks to {size / 1e9:.1f} GB, and no model of ours takes more than "
            f"{MOST_BYTES / 1e9:.1f}; nothing was loaded: do not use this file"
        )


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _numbered(node: Any, ids: dict[int, int], names: dict[str, str]) -> Any:
    """Skops' schema with its ids numbered; `names` learns what each member is called now."""
    if isinstance(node, list):
        return [_numbered(part, ids, names) for part in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            out[key] = ids.setdefault(value, len(ids) + 1)
        elif key == "file" and isinstance(value, str):
            out[key] = names.setdefault(value, f"{len(names) + 1}{value[value.rfind('.') :]}")
        else:
            out[key] = _numbered(value, ids, names)
    return out


def _nodes(estimator: Any) -> list[NDArray[np.void]]:
    """The node tables of an estimator made of trees; none of another."""
    forest = [tree.tree_.__getstate__()["nodes"] for tree in getattr(estimator, "estimators_", [])]
    boosted = [p.nodes for stage in getattr(estimator, "_predictors", []) for p in stage]
    return forest + boosted


def _require_sound(nodes: NDArray[np.void], width: int, name: str) -> None:
    """Refuse a tree that would be walked in circles or outside its arrays, as scikit-learn would.

    Both growers append children after their parent, so every child must follow its parent.
    """
    fields = nodes.dtype.names or ()
    left, right, feature = NODE_FIELDS["left" in fields]
    inner = nodes["is_leaf"] == 0 if "is_leaf" in fields else nodes[left] != -1
    at = np.flatnonzero(inner)
    asked = nodes[feature][at].astype(np.int64)
    sound = (asked >= 0) & (asked < width)
    for side in (left, right):
        child = nodes[side][at].astype(np.int64)
        sound &= (child > at) & (child < len(nodes))
    if "is_categorical" in fields:
        sound &= nodes["is_categorical"][at] == 0
    if not sound.all():
        raise ModelError(
            f"{name} holds a tree that points outside itself; nothing was loaded: do not use it"
        )
