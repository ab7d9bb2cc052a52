"""Carbon of forest polygons from their growing stock, by a profile's factors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from carbonmap.errors import ConfigError, LabelError, nearest
from carbonmap.profiles import TOTAL as TOTAL
from carbonmap.profiles import Profile as Profile
from carbonmap.profiles import parse_profiles as parse_profiles
from carbonmap.types import Ints, Plots

CO2_PER_C = 44 / 12
"""t CO₂ per t C: the ratio of the molar masses as the IPCC rounds them."""

SHOWN = 10
"""Names that one message lists before it counts the rest."""


def assign_strata(
    profile: Profile,
    species: Sequence[object] | None,
    growing_stock: Plots,
    stratum: str | None = None,
) -> Ints:
    """The stratum of every stand, as its place in ``profile.strata``.

    A stand of a species that the profile does not list takes `stratum`, else the profile's default.
    A stand without wood, or of unknown volume, needs none: whatever its stratum, its stock is 0 or
    unknown; it takes the first.

    Args:
        profile: the profile.
        species: the species field's values, shape ``(polygon,)``; None where there is no field.
        growing_stock: m³/ha, same shape.
        stratum: stratum of stands whose species says nothing; replaces the profile's default.

    Raises:
        ConfigError: `stratum` is none of the profile's.
        LabelError: stands with wood have a species that leads to no stratum.
    """
    order = list(profile.strata)
    fallback = stratum if stratum is not None else profile.fallback
    if fallback is not None and fallback not in profile.strata:
        raise ConfigError(
            f"unknown stratum {fallback!r} of profile {profile.name!r}; {nearest(fallback, order)}"
        )
    listed = ["no species field"] * len(growing_stock) if species is None else _texts(species)
    chosen = [profile.species.get(name, fallback) for name in listed]
    lost = [
        name
        for name, found, volume in zip(listed, chosen, growing_stock, strict=True)
        if found is None and volume > 0
    ]
    if lost:
        raise LabelError(
            f"profile {profile.name!r} has no stratum for {_counted(lost)}; name the field of "
            f"species by --species-field, list what it holds under [profile.NAME.species] of a "
            f"profile of your own, or choose one stratum for the rest by --stratum "
            f"({', '.join(order)})"
        )
    return np.array([order.index(c) if c else 0 for c in chosen], dtype=np.intp)


def _texts(values: Sequence[object]) -> list[str]:
    """Species values as the texts by which a profile lists them."""
    return [str(value).strip() for value in values]


def _counted(names: Iterable[str]) -> str:
    """Names with their counts, the most frequent first, at most `SHOWN` of them."""
    counts = Counter(names)
    shown = [f"{name!r} ({count})" for name, count in counts.most_common(SHOWN)]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def pool_density(
    growing_stock: Plots, profile: Profile, stratum: Ints | None = None
) -> dict[str, Plots]:
    """Carbon density of every pool, t C/ha, from standing wood volume per hectare.

        density of a pool = share · γ · Π biomass factors · V_ha

    With the `stock-expansion` profile that is Yu et al. (IIDM), eq. 5, its sum 2.439 split into
    its three pools; with `ipcc`, the stock in equation 2.14's terms (BCEF_S, R, CF).

    Args:
        growing_stock: ``V_ha``, m³/ha, shape ``(polygon,)``; NaN where nobody measured.
        profile: the factors.
        stratum: place of each stand's stratum in ``profile.strata``, same shape, as
            `assign_strata` gives it; None where the profile has one stratum.

    Returns:
        Pool name to t C/ha, same shape; NaN stays NaN.

    Raises:
        LabelError: some volume is negative or infinite, or the strata do not fit.
    """
    volume = np.asarray(growing_stock, dtype=np.float64)
    _refuse_nodata(volume)
    place = stratum_places(profile, volume, stratum)
    density = {pool: np.full(volume.shape, np.nan) for pool in profile.pools}
    for number, kind in enumerate(profile.strata.values()):
        members = np.flatnonzero(place == number)
        classes = kind.classes(volume[members])
        for pool, out in density.items():
            product = volume[members]
            for name in kind.factors_of(pool):
                product = product * np.take(kind.factors[name].value, classes[name])
            out[members] = product
    return density


def stratum_places(profile: Profile, volume: Plots, stratum: Ints | None) -> Ints:
    """`stratum` checked: one place per stand, each within the profile; all 0 for None.

    Raises:
        LabelError: it is missing where the profile has several strata, or does not fit.
    """
    if stratum is None:
        if profile.fallback is None:
            raise LabelError(
                f"profile {profile.name!r} has strata {', '.join(profile.strata)}; "
                f"say which stand belongs to which"
            )
        return np.full(volume.shape, list(profile.strata).index(profile.fallback), dtype=np.intp)
    place = np.asarray(stratum)
    inside = place.shape == volume.shape and np.issubdtype(place.dtype, np.integer)
    if not inside or np.any((place < 0) | (place >= len(profile.strata))):
        raise LabelError(
            f"strata must be whole numbers from 0 to {len(profile.strata) - 1}, one for each of "
            f"the {volume.size} stands"
        )
    return place


def _refuse_nodata(volume: Plots) -> None:
    bad = np.flatnonzero((volume < 0) | np.isinf(volume))
    if bad.size:
        shown = ", ".join(f"stand {i}: {volume[i]:g}" for i in bad[:SHOWN])
        raise LabelError(
            f"{bad.size} volumes are negative or infinite ({shown}), which is a nodata code read "
            f"as a number; make them empty in the inventory"
        )


def carbon_stock(
    growing_stock: Plots, area: Plots, profile: Profile, stratum: Ints | None = None
) -> dict[str, Plots]:
    """Carbon of whole forest polygons from their standing wood volume, pool by pool.

        C = k · δ · ρ · γ · V_ha · A          Yu et al. (IIDM), eq. 5–6

    The paper's k = 2.439 stays split into its pools; their sum is the paper's C.

    Args:
        growing_stock: ``V_ha``, m³/ha, shape ``(polygon,)``; NaN where nobody measured.
        area: ``A``, ha, same shape.
        profile: δ, γ (dimensionless), ρ (t/m³) and the pools' shares of k.
        stratum: as in `pool_density`.

    Returns:
        Pool name to stock, t C, same shape; NaN stays NaN.

    Raises:
        LabelError: some volume is negative, which is a nodata code read as a number, or some area
            is not a size.
    """
    size = np.asarray(area, dtype=np.float64)
    if size.shape != np.shape(growing_stock) or np.any(size < 0) or np.any(~np.isfinite(size)):
        raise LabelError("areas must be finite and not negative, in ha, one for each stand")
    density = pool_density(growing_stock, profile, stratum)
    return {pool: per_hectare * size for pool, per_hectare in density.items()}
