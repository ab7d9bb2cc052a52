"""VGG trunks for any number of bands, and full-resolution features from all of their levels."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from carbonmap.errors import ModelError
from carbonmap.networks.layers import he, require_sides
from carbonmap.networks.specs import Depth, VggSpec

TABLE_A2: dict[Depth, tuple[int, ...]] = {
    11: (30, 80, 166, 162, 250, 133, 57),
    16: (24, 38, 86, 87, 170, 173, 158, 239, 150, 76, 42, 13),
    19: (23, 34, 80, 79, 159, 162, 160, 154, 267, 203, 121, 123, 108, 64, 36, 16),
}
"""Channels that keep 85 % of the variance (IIDM, table A2). The paper contradicts itself: only the
list for VGG-19 is a whole trunk, those for 16 and 11 lack the last convolution; and they hold
2,311,288, 1,549,418 and 1,116,815 parameters, where its table A3 says 260,100, 164,425 and 49,897.
So `VggSpec` takes the first alone."""

COLOURS = (2, 1, 0)
"""Where red, green and blue lie among our bands, which start with blue, green, red (GF-1)."""


class Trunk(nn.Module):
    """The 3×3 convolutions of VGG, each with a bias and a ReLU, and its 2×2 max poolings.

    Simonyan & Zisserman 2015, table 1, without batch norm, from He's start. Numbered as
    torchvision's `features`, so that a state of either fits the other.

    Args:
        spec: depth and channels.
        bands: channels in.
    """

    def __init__(self, spec: VggSpec, bands: int) -> None:
        super().__init__()
        self.spec = spec
        self.bands = bands
        layers: list[nn.Module] = []
        channels = bands
        for width in spec.layers:
            if width:
                conv = he(nn.Conv2d(channels, width, 3, padding=1))
                layers += [conv, nn.ReLU(inplace=True)]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the features that `forward` gives, in order."""
        return tuple(width for width in self.spec.layers if width)

    @property
    def stages(self) -> tuple[int, ...]:
        """Which of the features are the last of their resolution, the finest first."""
        layers = (*self.spec.layers, 0)
        ends = [i for i, width in enumerate(layers) if not width]
        return tuple(end - 1 - pools for pools, end in enumerate(ends))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features after every ReLU, relu1 … reluN.

        Args:
            images: standardised bands, ``(batch, band, row, col)``; sides multiples of 16.

        Raises:
            ModelError: a side cannot be halved so often.
        """
        require_sides(f"VGG-{self.spec.depth}", images, 2 ** (len(self.stages) - 1))
        found = []
        for layer in self.features:
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                found.append(images)
        return found

    def load_imagenet(
        self, state: Mapping[str, Tensor], colours: tuple[int, int, int] = COLOURS
    ) -> None:
        """Take the convolutions of a VGG that torchvision trained on red, green and blue.

        Each colour's kernels go to its band, their mean to every other band, and all are scaled by
        3 / bands: an image that is the same in all bands gets the response that it got as grey.

        Args:
            state: keys ``features.N.weight`` and ``.bias``; the classifier is not read.
            colours: which bands are red, green and blue.

        Raises:
            ModelError: a convolution is missing, too many or of another shape, or a colour has no
                band. Nothing has changed then.
        """
        own, bands = self.state_dict(), self.bands
        given = {key: value for key, value in state.items() if key.startswith("features.")}
        if len(set(colours)) < 3 or not all(0 <= c < bands for c in colours):
            raise ModelError(
                f"the bands of red, green and blue are {colours}; want three of 0 … {bands - 1}: "
                "train without ImageNet's weights, or give bands that hold the three colours"
            )
        self._check(own, given)
        kernels = given["features.0.weight"]
        planes = kernels.mean(1, keepdim=True).repeat(1, bands, 1, 1)
        planes[:, list(colours)] = kernels
        self.load_state_dict({**given, "features.0.weight": planes * (3 / bands)})

    def _check(self, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
        """Stop at the first convolution that differs from torchvision's of this depth."""
        for key in sorted(own.keys() | given.keys()):
            want = list(own[key].shape) if key in own else None
            if want and key == "features.0.weight":
                want[1] = 3
            got = list(given[key].shape) if key in given else None
            if got != want:
                raise ModelError(
                    f"{key} of the weights is {got or 'missing'}, want {want or 'none'}; give the "
                    f"state of torchvision's vgg{self.spec.depth}, without batch norm"
                )


class Pyramid(nn.Module):
    """Features at full resolution from the last ReLU of each of a trunk's resolutions: f⁰.

    A 1×1 convolution of each level, the coarser doubled bilinearly and added to the finer (Lin et
    al. 2017). The paper does not say how its f⁰ comes to full resolution. Being linear, this is a
    1×1 convolution of all levels side by side at full resolution, without that map of 1,472
    channels ever being made. Lin's 3×3 convolution of the sum is left to the network that reads it;
    one bias does for all levels.

    Args:
        spec: of the trunk.
        bands: channels in.
        features: channels out.
    """

    def __init__(self, spec: VggSpec, bands: int, features: int) -> None:
        super().__init__()
        self.trunk = Trunk(spec, bands)
        widths = [self.trunk.channels[i] for i in self.trunk.stages]
        self.lateral = nn.ModuleList(
            nn.Conv2d(width, features, 1, bias=level == 0) for level, width in enumerate(widths)
        )

    def forward(self, images: Tensor) -> Tensor:
        """``(batch, band, row, col)`` to ``(batch, feature, row, col)``; sides multiples of 16.

        Raises:
            ModelError: a side is not.
        """
        found = self.trunk(images)
        levels = zip(self.trunk.stages, self.lateral, strict=True)
        *finer, total = [lateral(found[stage]) for stage, lateral in levels]
        for level in reversed(finer):
            total = level + F.interpolate(
                total, scale_factor=2, mode="bilinear", align_corners=False
            )
        full: Tensor = total
        return full
