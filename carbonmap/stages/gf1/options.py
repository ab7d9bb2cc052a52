"""What a user can say about how scenes become reflectance."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.clouds import CloudSettings
from carbonmap.io import files
from carbonmap.models import omnicloud
from carbonmap.settings import STRICT, ProjectPath
from carbonmap.types import Json

DAY = r"\d{4}-\d{2}(-\d{2})?"
"""A reference that is a day or a month of the archive, and not the name of a file."""

Resampling = Literal["nearest", "bilinear", "cubic"]


@dataclass(frozen=True, config=STRICT)
class SceneOptions:
    """How a GF-1 scene is calibrated, placed and corrected.

    Args:
        gain: W m-2 sr-1 um-1 per count by band, instead of the published ones.
        bias: W m-2 sr-1 um-1 by band, likewise.
        heights: what the archive's DEM is measured from, where its own layer does not say.
        geoid: a GeoTIFF of the geoid's height over the ellipsoid, m, by which a DEM over the geoid
            becomes one over the ellipsoid.
        flat_height_m: one height over the ellipsoid for all land, instead of a DEM.
        resampling: of the bands.
        atmosphere: ``dos`` for dark-object subtraction, ``6s`` for the table of 6S, ``none``.
        aod: aerosol optical depth at 550 nm for ``6s``; estimated from dark land where not given.
        terrain: ``auto`` corrects the light of slopes where the scene has many above 10°, by SCS+C.
        clouds: ``threshold``, ``omnicloudmask`` (an extra) or ``none``.
        cloud_weights: folder of OmniCloudMask's weights; output remembers their content.
        cloud: thresholds of the detector.
        reference: a GeoTIFF, or the day of an image in the archive, against which the place of the
            scene is checked.
        reference_band: band of the GeoTIFF to compare with the scene's red; None for the first.
        align: move the scene by what the check finds.
    """

    gain: tuple[float, float, float, float] | None = None
    bias: tuple[float, float, float, float] | None = None
    heights: Literal["ellipsoid", "geoid"] | None = None
    geoid: ProjectPath | None = None
    flat_height_m: Annotated[float, Field(ge=-500, le=9000)] | None = None
    resampling: Resampling = "cubic"
    atmosphere: Literal["dos", "6s", "none"] = "dos"
    aod: Annotated[float, Field(ge=0, le=3)] | None = None
    terrain: Literal["auto", "scs+c", "c", "none"] = "auto"
    clouds: Literal["threshold", "omnicloudmask", "none"] = "threshold"
    cloud_weights: ProjectPath | None = None
    cloud: CloudSettings = CloudSettings()
    reference: str | None = None
    reference_band: Annotated[int, Field(ge=1)] | None = None
    align: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself or would be ignored."""
        if self.aod is not None and self.atmosphere != "6s":
            raise ValueError("`aod` is of use with `atmosphere` 6s only; give that too")
        if self.align and self.reference is None:
            raise ValueError("`align` needs a `reference` to align with")
        if self.reference_band is not None and (self.reference is None or self.reference_is_day):
            raise ValueError(
                "`reference_band` is the band of a GeoTIFF; give that as `reference`, or leave the "
                "band out: without a reference it has no use, and a day's image is compared by its "
                "red"
            )
        if self.flat_height_m is not None and (self.heights or self.geoid):
            raise ValueError("`flat_height_m` replaces the DEM; leave `heights` and `geoid` out")
        if self.flat_height_m is not None and self.terrain in ("scs+c", "c"):
            raise ValueError(f"`terrain` {self.terrain} needs a DEM; leave `flat_height_m` out")
        if self.geoid is not None and self.heights == "ellipsoid":
            raise ValueError("`geoid` converts heights over the geoid; `heights` says ellipsoid")
        if (self.cloud_weights is None) == (self.clouds == "omnicloudmask"):
            raise ValueError("`clouds` omnicloudmask and `cloud_weights` FOLDER go together")

    @property
    def reference_is_day(self) -> bool:
        """Whether the reference is an image of the archive, by its day or month, and no file."""
        return re.fullmatch(DAY, self.reference or "") is not None

    @property
    def band_of_reference(self) -> int:
        """Number of the GeoTIFF's band that is compared with the scene's red."""
        return self.reference_band or 1

    def to_json(self) -> Json:
        """As output remembers them: files by their content.

        The reference is left out: `register.describe` tells its content, and which band counts.

        Raises:
            MissingInput: a file is not there.
        """
        weights = self.cloud_weights
        held: Json = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("geoid", "cloud", "cloud_weights", "reference", "reference_band")
        }
        return held | {
            "geoid": None if self.geoid is None else files.fingerprint(self.geoid),
            "cloud": dataclasses.asdict(self.cloud),
            "cloud_weights": None if weights is None else _content(weights),
        }


def _content(weights: Path) -> Json:
    """The files of OmniCloudMask's weights by name."""
    return {path.name: files.describe(path) for path in omnicloud.weight_files(weights)}
