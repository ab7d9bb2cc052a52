"""A model folder: the weights, and a card that says what they are.

model.skops          a regressor's estimator, without pickle; or
weights.safetensors  a network's weights
split.parquet        the stands it learned from and those held out (written by `train`)
model.json           the card, written last, with size and SHA-256 of the others

What concerns networks lies in `checkpoint.neural` and is imported where there is one: torch takes a
second to import, and most commands do without.
"""

from carbonmap.checkpoint.folder import Checkpoint as Checkpoint
from carbonmap.checkpoint.folder import load as load
from carbonmap.checkpoint.folder import weights_hash as weights_hash
from carbonmap.checkpoint.layout import FORMAT as FORMAT
from carbonmap.checkpoint.layout import MARK as MARK
from carbonmap.checkpoint.regressors import WEIGHTS as WEIGHTS
from carbonmap.checkpoint.regressors import card as card
from carbonmap.checkpoint.regressors import write_weights as write_weights
