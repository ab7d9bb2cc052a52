"""What a GF-1 WFV L1A product tells of itself, as text: its XML and its RPB."""

from __future__ import annotations

import datetime
import math

from carbonmap.gf1 import RPB_KEYS
from carbonmap.landscape.product import CHINA, Shot
from carbonmap.rpc import Rpc

LINE_S = 0.00225787
"""Time from one line to the next: IntegrationTime of a real product."""

CORNERS = ("TopLeft", "TopRight", "BottomRight", "BottomLeft")

XML = """\
<?xml version="1.0" encoding="UTF-8" ?>
<ProductMetaData>
    <SatelliteID>GF1</SatelliteID>
    <SensorID>{sensor}</SensorID>
    <ReceiveTime>{received}</ReceiveTime>
    <OrbitID></OrbitID>
    <ProduceType>STANDARD</ProduceType>
    <SceneID>{number}</SceneID>
    <ProductID>{number}</ProductID>
    <ProductLevel>LEVEL1A</ProductLevel>
    <ProductQuality />
    <ProductQualityReport />
    <ProductFormat>GEOTIFF</ProductFormat>
    <ProduceTime>{produced}</ProduceTime>
    <Bands>1,2,3,4</Bands>
    <ScenePath></ScenePath>
    <SceneRow></SceneRow>
    <SatPath></SatPath>
    <SatRow></SatRow>
    <SceneCount>1</SceneCount>
    <SceneShift>1</SceneShift>
    <StartTime>{start}</StartTime>
    <EndTime>{end}</EndTime>
    <CenterTime>{centre}</CenterTime>
    <ImageGSD>{pixel_m:g}</ImageGSD>
    <WidthInPixels>{samples}</WidthInPixels>
    <HeightInPixels>{lines}</HeightInPixels>
    <WidthInMeters />
    <HeightInMeters />
    <CloudPercent>{cloud_percent:.0f}</CloudPercent>
    <QualityInfo></QualityInfo>
    <PixelBits></PixelBits>
    <ValidPixelBits></ValidPixelBits>
    <RollViewingAngle>0</RollViewingAngle>
    <PitchViewingAngle>0</PitchViewingAngle>
    <RollSatelliteAngle>0</RollSatelliteAngle>
    <PitchSatelliteAngle>0</PitchSatelliteAngle>
    <YawSatelliteAngle>0</YawSatelliteAngle>
    <SolarAzimuth>{sun_azimuth_deg:.6g}</SolarAzimuth>
    <SolarZenith>{sun_zenith_deg:.6g}</SolarZenith>
    <SatelliteAzimuth>{view_azimuth_deg:.6g}</SatelliteAzimuth>
    <SatelliteZenith>{view_elevation_deg:.6g}</SatelliteZenith>
    <GainMode>G0,G0,G0,G0</GainMode>
    <IntegrationTime>{line_s}</IntegrationTime>
    <IntegrationLevel>S0,S0,S0,S0</IntegrationLevel>
    <MapProjection />
    <EarthEllipsoid />
    <ZoneNo />
    <ResamplingKernel />
    <HeightMode />
    <MtfCorrection>LAB</MtfCorrection>
    <RelativeCorrectionData></RelativeCorrectionData>
{corners}
    <TopLeftMapX />
    <TopLeftMapY />
    <TopRightMapX />
    <TopRightMapY />
    <BottomRightMapX />
    <BottomRightMapY />
    <BottomLeftMapX />
    <BottomLeftMapY />
</ProductMetaData>
"""
"""Elements as in a real product of 2020; orbit, path and row are not simulated and empty."""


def xml_text(shot: Shot) -> str:
    """The XML of a product, with the traps of GF-1's own.

    CenterTime, StartTime, EndTime and ProduceTime are China's (UTC+8), ReceiveTime is UTC, and
    SatelliteZenith holds the satellite's elevation. Corners have four decimals, 11 m.
    """
    camera = shot.camera
    half = datetime.timedelta(seconds=camera.lines * LINE_S / 2)
    corners = [
        f"    <{corner}{what}>{value:.4f}</{corner}{what}>"
        for corner, (lon, lat) in zip(CORNERS, shot.corners, strict=True)
        for what, value in (("Latitude", lat), ("Longitude", lon))
    ]
    return XML.format(
        sensor=camera.sensor,
        received=f"{shot.time.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S}",
        number=shot.number,
        produced=_china(shot.time + datetime.timedelta(hours=11)),
        start=_china(shot.time - half),
        end=_china(shot.time + half),
        centre=_china(shot.time),
        pixel_m=camera.pixel_m,
        samples=camera.samples,
        lines=camera.lines,
        cloud_percent=shot.cloud_percent,
        sun_azimuth_deg=shot.sun_azimuth_deg,
        sun_zenith_deg=shot.sun_zenith_deg,
        view_azimuth_deg=math.degrees(camera.view_azimuth),
        view_elevation_deg=90 - math.degrees(camera.view_zenith),
        line_s=LINE_S,
        corners="\n".join(corners),
    )


def rpb_text(rpc: Rpc) -> str:
    """A camera as the text of an RPB, laid out as in GF-1's products.

    Coefficients have 17 digits, one more than there, and so come back as they were.
    """
    lines = ['satId = "XXX";', 'bandId = "XXX";', 'SpecId = "XXX";', "BEGIN_GROUP = IMAGE"]
    lines += ["\terrBias =   1.0;", "\terrRand =    0.0;"]
    for name, ours in RPB_KEYS.items():
        value = getattr(rpc, ours)
        if isinstance(value, tuple):
            numbers = ",\n".join(f"\t\t\t{number:+.16E}" for number in value)
            lines += [f"\t{name} = (", f"{numbers});"]
        else:
            lines.append(f"\t{name} = {value:.15f};")
    return "\n".join([*lines, "END_GROUP = IMAGE", "END;", ""])


def _china(time: datetime.datetime) -> str:
    return f"{time.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"
