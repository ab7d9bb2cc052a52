"""A simulated county whose true carbon is known everywhere: for demo, tests and benchmarks.

Every layer is a field over the map, keyed by place and seed: a tile holds exactly what the whole
holds there, so a county of any size is drawn tile by tile in bounded memory.
"""

from carbonmap.landscape.camera import Camera as Camera
from carbonmap.landscape.camera import camera_over as camera_over
from carbonmap.landscape.canopy import canopy_height as canopy_height
from carbonmap.landscape.canopy import carbon_density as carbon_density
from carbonmap.landscape.county import County as County
from carbonmap.landscape.county import Season as Season
from carbonmap.landscape.county import county_grid as county_grid
from carbonmap.landscape.drawing import Land as Land
from carbonmap.landscape.drawing import draw as draw
from carbonmap.landscape.inventory import Stands as Stands
from carbonmap.landscape.inventory import stands as stands
from carbonmap.landscape.light import cast_shadows as cast_shadows
from carbonmap.landscape.product import Shot as Shot
from carbonmap.landscape.product import county_land as county_land
from carbonmap.landscape.product import county_shot as county_shot
from carbonmap.landscape.relief import elevation as elevation
from carbonmap.landscape.rpc_fit import fit_rpc as fit_rpc
from carbonmap.landscape.scene import image as image
from carbonmap.landscape.scene import reflectance as reflectance
from carbonmap.landscape.scene import view as view
from carbonmap.landscape.sky import clouds as clouds
from carbonmap.landscape.sky import shadows as shadows
from carbonmap.landscape.species import BANDS as BANDS
