"""Carbon profiles: what turns wood volume into carbon, as data and not code.

A profile (``data/profiles.toml``, or a user's own table) says, stratum by stratum, how wood volume
becomes biomass, biomass carbon, and the trees' carbon the other pools'. config.py reads the TOML;
this module takes the parsed mapping.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, fields
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from carbonmap.errors import ConfigError, nearest
from carbonmap.types import Floats, Ints

TOTAL = "total"
"""Key of the sum over pools in every report; no pool may be called so."""


def _numbers(value: object) -> tuple[float, ...]:
    """One number, or a list of them, as a tuple; anything else is refused."""
    values = value if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise ValueError(f"must be a number or a list of numbers, not {value!r}")
    return tuple(float(v) for v in values)


Numbers = Annotated[tuple[float, ...], BeforeValidator(_numbers)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Factor:
    """One number of a profile, or one per class of stand, with where it comes from.

    Args:
        value: the number, or one for each class.
        unit: its unit as text, ``"1"`` where it has none.
        source: where the value comes from.
        uncertainty_percent: 95 % half-width, % of the value; one, or one per class.
        uncertainty_source: where the half-width comes from, or why it was judged so.
        by: what the classes are cut on: growing stock, m³/ha, or tree biomass, t d.m./ha.
        up_to: upper bounds of all classes but the last, each inclusive.
    """

    value: Numbers
    unit: str
    source: str
    uncertainty_percent: Numbers
    uncertainty_source: str
    by: Literal["growing_stock", "biomass"] | None = None
    up_to: Numbers = ()

    def __post_init__(self) -> None:
        if (self.by is None) != (not self.up_to):
            raise ValueError("`by` and `up_to` belong together: give both or neither")
        if len(self.value) != len(self.up_to) + 1:
            raise ValueError(
                f"`value` has {len(self.value)} entries for {len(self.up_to) + 1} classes; "
                f"give one per class, one more than `up_to` has bounds"
            )
        if len(self.uncertainty_percent) not in (1, len(self.value)):
            raise ValueError("`uncertainty_percent` must be one number or one per class")
        if any(not math.isfinite(v) or v < 0 for v in self.value + self.uncertainty_percent):
            raise ValueError("values and half-widths must be finite and not negative")
        if any(a >= b for a, b in pairwise(self.up_to)):
            raise ValueError(f"`up_to` must rise, not {list(self.up_to)}")

    def classes(self, growing_stock: Floats, biomass: Floats) -> Ints:
        """The class of every stand, shape ``(polygon,)``; 0 throughout where there is one class.

        Args:
            growing_stock: m³/ha.
            biomass: tree biomass, t d.m./ha, same shape.
        """
        on = biomass if self.by == "biomass" else growing_stock
        return np.searchsorted(self.up_to, on, side="left")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Stratum:
    """The factors that a kind of forest shares.

    Args:
        biomass: factors whose product turns m³ of growing stock into t of dry tree biomass.
        carbon_fraction: γ or CF, t C per t of dry biomass.
        pools: carbon of each pool as a multiple of the carbon in that biomass.
        description: what forest it means.
    """

    biomass: Mapping[str, Factor]
    carbon_fraction: Factor
    pools: Mapping[str, Factor]
    description: str = ""

    def __post_init__(self) -> None:
        if not self.biomass:
            raise ValueError("`biomass` needs at least one factor, t of dry biomass per m³")
        if any(f.by == "biomass" for f in self.biomass.values()):
            raise ValueError("a `biomass` factor cannot have classes of the biomass it makes")

    def classes(self, growing_stock: Floats) -> dict[str, Ints]:
        """The class of every stand for every factor, keyed as `factors` is.

        Published tables step: at a class bound the factor, and so the stock, jumps. carbonmap
        keeps the published steps instead of smoothing what nobody measured.
        """
        biomass = np.asarray(growing_stock, dtype=np.float64)
        found: dict[str, Ints] = {}
        for name, factor in self.biomass.items():
            found[name] = factor.classes(growing_stock, biomass)
            biomass = biomass * np.take(factor.value, found[name])
        for name, factor in self.factors.items():
            if name not in found:
                found[name] = factor.classes(growing_stock, biomass)
        return found

    @property
    def factors(self) -> dict[str, Factor]:
        """Every factor by a name of its own; a pool's share is called ``share of POOL``."""
        shares = {f"share of {pool}": factor for pool, factor in self.pools.items()}
        return {**self.biomass, "carbon_fraction": self.carbon_fraction, **shares}

    def factors_of(self, pool: str) -> tuple[str, ...]:
        """Names of the factors whose product is t C of a pool per m³ of growing stock."""
        return (*self.biomass, "carbon_fraction", f"share of {pool}")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Profile:
    """A whole method of turning growing stock into carbon.

    Args:
        name: what the user calls it by.
        description: what it is and whose.
        pools: what each pool holds, in the order of reports.
        strata: one or more kinds of forest.
        species: stratum of each value of the inventory's species field.
        default_stratum: stratum of species that are not listed; a profile with a single stratum
            needs none.
    """

    name: str
    description: str
    pools: Mapping[str, str]
    strata: Mapping[str, Stratum]
    species: Mapping[str, str] = field(default_factory=dict)
    default_stratum: str | None = None

    def __post_init__(self) -> None:
        if not self.strata or not self.pools:
            raise ValueError("a profile needs at least one stratum and one pool")
        if TOTAL in self.pools:
            raise ValueError(f"no pool may be called {TOTAL!r}: reports call the sum so")
        for name, stratum in self.strata.items():
            if set(stratum.pools) != set(self.pools):
                raise ValueError(
                    f"stratum {name!r} has pools {sorted(stratum.pools)}, the profile "
                    f"{sorted(self.pools)}; give every stratum a share of every pool"
                )
        wanted = {*self.species.values(), self.default_stratum} - {None}
        for name in sorted(str(w) for w in wanted - set(self.strata)):
            raise ValueError(f"unknown stratum {name!r}; {nearest(name, self.strata)}")

    @property
    def fallback(self) -> str | None:
        """The stratum of stands whose species says nothing, if there is one."""
        return next(iter(self.strata)) if len(self.strata) == 1 else self.default_stratum


def parse_profiles(tables: Mapping[str, Any]) -> dict[str, Profile]:
    """Profiles from parsed TOML: one table per profile, keyed by its name.

    Raises:
        ConfigError: a key is unknown (the nearest valid one is named), missing, of the wrong type,
            or impossible.
    """
    return {name: _parse(name, table) for name, table in tables.items()}


def _parse(name: str, table: object) -> Profile:
    if not isinstance(table, Mapping):
        raise ConfigError(f"profile {name!r} must be a table, not {table!r}")
    try:
        return TypeAdapter(Profile).validate_python({"name": name, **table})
    except ValidationError as error:
        lines = [_explain(e["loc"], e["type"], e["msg"]) for e in error.errors()]
        raise ConfigError(f"profile {name!r}: " + "; ".join(lines)) from None


def _explain(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    """One pydantic complaint as a sentence that names the key."""
    key = ".".join(map(str, loc)) or "profile"
    if kind == "unexpected_keyword_argument":
        return f"unknown key {key!r}; {nearest(str(loc[-1]), _valid_keys(loc))}"
    return f"{key}: {message.removeprefix('Value error, ')}"


def _valid_keys(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the table in which an unknown key stands may have."""
    kind = {1: Profile, 3: Stratum}.get(len(loc), Factor)
    return [f.name for f in fields(kind) if f.name != "name"]
