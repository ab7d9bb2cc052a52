"""Scenes of a month, a day or a range composed into one seamless image."""

from carbonmap.stages.mosaic.plan import MosaicOptions as MosaicOptions
from carbonmap.stages.mosaic.run import mosaic as mosaic
