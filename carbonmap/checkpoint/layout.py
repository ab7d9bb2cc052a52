"""What lies where in a model folder."""

from __future__ import annotations

from carbonmap.checkpoint import regressors

MARK = "model.json"
"""The card, by which a model folder is known to be complete."""

NETWORK = "weights.safetensors"
"""The weights of a network."""

WEIGHTS_OF = {regressors.FORMAT: regressors.WEIGHTS, 2: NETWORK}
"""File of weights by version of the card's own part of `MARK`, which is raised when an older reader
would misread it: 1 are regressors, 2 networks."""

FORMAT = max(WEIGHTS_OF)
"""The newest of these."""
