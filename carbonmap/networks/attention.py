"""How features of the condition join those of the noisy map, before each upsampling."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def tokens(images: Tensor) -> Tensor:
    """``(batch, channel, row, col)`` to ``(batch, pixel, channel)``; free with channels last."""
    return images.flatten(2).transpose(1, 2)


class CrossAttention(nn.Module):
    """Each pixel of the noisy map gathers features of the condition from the whole tile.

    ``u + W_o softmax(Q Kᵀ / √d) V`` with Q of u, K and V of f, each brought to mean 0 and variance
    1 over a pixel's channels first (IIDM 4.4 names cross-attention between fⁱ and uⁱ and no more;
    Vaswani et al. 2017). Q, K and V have no biases: a softmax ignores what all keys share. W_o does
    not start at zero: the network's last convolution does, and two in a row would only wait for
    each other. A pixel depends on its tile here: predict with tiles of the size learned with.

    Args:
        channels: of u, and out.
        features: channels of f.
        heads: into which the channels are split.
    """

    def __init__(self, channels: int, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_u = nn.LayerNorm(channels)
        self.norm_f = nn.LayerNorm(features)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(features, channels, bias=False)
        self.value = nn.Linear(features, channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, u: Tensor, f: Tensor) -> Tensor:
        """u, ``(batch, channel, row, col)``, and f of the same pixels, its batch u's or 1."""
        of_u, of_f = self.norm_u(tokens(u)), self.norm_f(tokens(f))
        found = F.scaled_dot_product_attention(
            self._split(self.query(of_u)),
            self._split(self.key(of_f)).expand(len(u), -1, -1, -1),
            self._split(self.value(of_f)).expand(len(u), -1, -1, -1),
        )
        joined: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return u + joined.transpose(1, 2).reshape(u.shape)

    def _split(self, values: Tensor) -> Tensor:
        """``(batch, pixel, channel)`` to ``(batch, head, pixel, channel of head)``."""
        batch, pixels, _ = values.shape
        return values.reshape(batch, pixels, self.heads, -1).transpose(1, 2)


class Concatenation(nn.Module):
    """A 1×1 convolution of u and f side by side, as IDM without this paper's fusion.

    Written as the sum of a convolution of each, which is the same: f's is computed once for all
    the draws of a tile, and nothing is copied side by side.

    Args:
        channels: of u, and out.
        features: channels of f.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.of_u = nn.Conv2d(channels, channels, 1)
        self.of_f = nn.Conv2d(features, channels, 1, bias=False)

    def forward(self, u: Tensor, f: Tensor) -> Tensor:
        """u, ``(batch, channel, row, col)``, and f of the same pixels, its batch u's or 1."""
        joined: Tensor = self.of_u(u) + self.of_f(f)
        return joined


class Fusion(nn.Module):
    """Cross-attention, then a perceptron a pixel of u and f side by side, added to u.

    IIDM 4.6: the attention relates the features, the perceptron merges condition and features.

    Args:
        channels: of u, and out.
        features: channels of f.
        heads: of the attention; None for the perceptron alone, where a tile has so many pixels that
            attention, whose cost grows with their square, would take all the time.
    """

    def __init__(self, channels: int, features: int, heads: int | None) -> None:
        super().__init__()
        self.attention = CrossAttention(channels, features, heads) if heads else None
        self.merge = Concatenation(channels, features)
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, u: Tensor, f: Tensor) -> Tensor:
        """u, ``(batch, channel, row, col)``, and f of the same pixels, its batch u's or 1."""
        if self.attention:
            u = self.attention(u, f)
        merged: Tensor = self.last(F.relu(self.merge(u, f), inplace=True))
        return u + merged
