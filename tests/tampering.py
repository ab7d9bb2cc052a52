"""Model folders spoilt on purpose, with everything else right."""

import json

from carbonmap.checkpoint import MARK
from carbonmap.io import files


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def told(names):
    """What `train` adds to the card of any model with features of these names."""
    return {
        "label_range_mg_c_ha": [0.0, 250.0],
        "feature_ranges": {name: [0.0, 1.0] for name in names},
        "image_scale": [0.0001, 0.0],
        "profile": "stock-expansion",
        "pools": "trees",
        "split": {"block_m": 3000.0, "validation_share": 0.2, "buffer_m": 150.0, "seed": 0},
        "inputs": {"labels": "0" * 64},
        "mask": None,
        "min_coverage": 0.9,
    }


def change_card(folder, change):
    """The card after a change in place."""
    mark = json.loads((folder / MARK).read_text())
    change(mark["report"])
    (folder / MARK).write_text(json.dumps(mark))


def replace_weights(path, data):
    """Other weights, and the card's hash made to agree."""
    path.write_bytes(data)
    mark = json.loads((path.parent / MARK).read_text())
    mark["files"][path.name] = files.describe(path)
    (path.parent / MARK).write_text(json.dumps(mark))
