"""GF-1 WFV products into the archive, scene by scene."""

from carbonmap.stages.gf1.batch import ingest_gf1 as ingest_gf1
from carbonmap.stages.gf1.options import SceneOptions as SceneOptions
