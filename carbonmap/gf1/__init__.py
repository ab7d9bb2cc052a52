"""What a GF-1 WFV L1A product says of itself: its metadata, its camera, and whether they agree."""

from carbonmap.gf1.camera import GAP_WARN_M as GAP_WARN_M
from carbonmap.gf1.camera import LAND_M as LAND_M
from carbonmap.gf1.camera import RPB_KEYS as RPB_KEYS
from carbonmap.gf1.camera import VIEW_WARN_DEG as VIEW_WARN_DEG
from carbonmap.gf1.camera import footprint_gap_m as footprint_gap_m
from carbonmap.gf1.camera import parse_rpb as parse_rpb
from carbonmap.gf1.camera import require_fit as require_fit
from carbonmap.gf1.camera import view_gap_deg as view_gap_deg
from carbonmap.gf1.metadata import parse_xml as parse_xml
from carbonmap.gf1.scene import SENSORS as SENSORS
from carbonmap.gf1.scene import Scene as Scene
