"""The project: everything that a user's project file says, as frozen values.

carbonmap.config reads and writes the file; settings that serve one function stand beside it.
"""

from __future__ import annotations

import codecs
import dataclasses
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from carbonmap.errors import ConfigError, nearest
from carbonmap.features import FeatureSpec
from carbonmap.learning.names import Family, Storage
from carbonmap.learning.settings import Training
from carbonmap.regions import Crs, Region
from carbonmap.settings import STRICT, ProjectPath
from carbonmap.splits import SplitSpec
from carbonmap.uncertainty import VOLUME_PERCENT

Kind = Literal[
    "ols", "random-forest", "svr", "gradient-boosting",
    "iidm", "iidm-residual", "unet", "vae", "gan",
]  # fmt: skip

KINDS: tuple[str, ...] = get_args(Kind)
"""Families of models: `models.regressors.RECIPES` has one recipe for each of the first four, and
`checkpoint.families` builds the others, which are networks."""

NETWORKS: tuple[str, ...] = get_args(Family)
"""Those of them that are networks."""

LEAST_DRAWS = 100
"""Of these the 2.5 % bounds lie beyond the second and third ones from each end."""


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(
            "no encoding that Python knows; Chinese inventories are mostly GBK, newer ones UTF-8"
        ) from None
    return name


def _enough_draws(draws: int) -> int:
    if draws and draws < LEAST_DRAWS:
        raise ValueError(
            f"it should be 0 or at least {LEAST_DRAWS}: fewer draws cannot show a 2.5 % bound"
        )
    return draws


@dataclass(frozen=True, config=STRICT)
class Inventory:
    """Where the forest inventory lies and what its fields are called.

    Args:
        path: Shapefile, GeoPackage or GeoParquet.
        volume_field: growing stock, m³/ha.
        id_field: the stand's id.
        area_field: the stand's area as the inventory states it, ha; compared, never used.
        species_field: what a profile's strata are chosen by.
        group_fields: fields by which totals are broken down, such as township.
        layer: of a GeoPackage with several.
        nodata: volumes that mean "unknown".
        encoding: of a Shapefile's text, such as GBK; needed where it has no .cpg file.
        assume_crs: CRS of an inventory that states none.
        year: in which it was made; images of another year are told to be older or younger.
    """

    path: ProjectPath | None = None
    volume_field: str | None = None
    id_field: str | None = None
    area_field: str | None = None
    species_field: str | None = None
    group_fields: tuple[str, ...] = ()
    layer: str | None = None
    nodata: tuple[float, ...] = ()
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    assume_crs: Crs | None = None
    year: Annotated[int, Field(ge=1900, le=2200)] | None = None


@dataclass(frozen=True, config=STRICT)
class Labels:
    """How stands become carbon labels.

    Args:
        profile: a built-in carbon profile, or the NAME of a ``[profile.NAME]`` table.
        volume_uncertainty_percent: 95 % half-width of one stand's volume, % of it.
        min_coverage: least share of a pixel inside known stands for it to train a model.
        monte_carlo: draws of IPCC Approach 2, at least 100; 0 for Approach 1 alone.
    """

    profile: str = "stock-expansion"
    volume_uncertainty_percent: Annotated[float, Field(ge=0)] = VOLUME_PERCENT
    min_coverage: Annotated[float, Field(gt=0, le=1)] = 0.9
    monte_carlo: Annotated[int, Field(ge=0), AfterValidator(_enough_draws)] = 0


@dataclass(frozen=True, config=STRICT)
class Model(FeatureSpec):
    """Which model is trained, on features that it inherits: `inputs`, `radii` and so on.

    Args:
        kind: its family.
        seed: of everything random in it.
        split: how stands are held out for validation.
        preset: a network's size, or a row of the paper's tables; see `learning.choice`.
        network: values of the network's specification that replace the preset's, by their names in
            `networks.specs`.
        diffusion: likewise of `diffusion.spec.DiffusionSpec`.
        training: how a network is trained.
        samples: draws of a generative network whose mean is the map.
        band_drop: probability with which an image band of a training patch is hidden.
        storage: of a network's weights on the disk.
    """

    kind: Kind = "random-forest"
    seed: Annotated[int, Field(ge=0)] = 0
    split: SplitSpec = SplitSpec()
    preset: str = "tiny"
    network: dict[str, Any] = dataclasses.field(default_factory=dict)
    diffusion: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: Training = Training()
    samples: Annotated[int, Field(ge=1)] = 8
    band_drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    storage: Storage = "float32"

    @property
    def features(self) -> FeatureSpec:
        """The features alone, as a trained model keeps them."""
        names = [f.name for f in dataclasses.fields(FeatureSpec)]
        return FeatureSpec(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, config=STRICT)
class Output:
    """How maps are written.

    Args:
        style_range_mg_c_ha: densities at the ends of the map's colours, Mg C/ha; one fixed range,
            so that maps of any date and place compare by eye.
        threads: threads for work whose result does not depend on them; None for every core.
    """

    style_range_mg_c_ha: tuple[float, float] = (0.0, 400.0)
    threads: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        low, high = self.style_range_mg_c_ha
        if low >= high:
            raise ValueError(f"`style_range_mg_c_ha` is {[low, high]}; it should rise")


@dataclass(frozen=True, config=STRICT)
class Project:
    """Everything that a project file says, with the defaults for what it does not say."""

    region: dict[str, Region]
    archive: ProjectPath
    default_region: str | None = None
    inventory: Inventory = Inventory()
    labels: Labels = Labels()
    profile: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    model: Model = Model()
    output: Output = Output()

    def __post_init__(self) -> None:
        if self.default_region is not None and self.default_region not in self.region:
            raise ValueError(
                f"`default_region` is {self.default_region!r}; "
                f"{nearest(self.default_region, self.region)}"
            )

    def find_region(self, name: str | None = None) -> Region:
        """The region of that name, or the default one.

        Raises:
            ConfigError: there is none of that name, or none was named at all.
        """
        name = self.default_region if name is None else name
        if name is None:
            raise ConfigError(
                "no region was named and the project has no default; give --region NAME or write "
                f"default_region = NAME into the project file; {nearest('', self.region)}"
            )
        if name not in self.region:
            raise ConfigError(f"region {name!r} is not known; {nearest(name, self.region)}")
        return self.region[name]
