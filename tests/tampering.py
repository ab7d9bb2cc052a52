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
