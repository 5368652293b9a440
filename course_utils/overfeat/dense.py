"""From one window to all: fully connected layers as convolutions, the arithmetic of windows, offset pooling.

Sermanet et al., "OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks", ICLR 2014
(arXiv 1312.6229).
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torch.utils.flop_counter import FlopCounterMode

from course_utils.errors import DataError

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.Dropout, nn.BatchNorm2d, nn.Identity)
"""Layers that treat every cell alike, so that they mean the same on a map of any size."""

PAPER_WINDOW, PAPER_STRIDE = 221, 36  # pixels
PAPER_SIZES = ((245, 245), (281, 317), (317, 389), (389, 461), (425, 497), (461, 569))
"""Height and width of the six scales of the paper's classifier."""


class Geometry(NamedTuple):
    """What one output of a network sees, in pixels: output i of a row sees start + i * stride up to + window."""

    window: int
    stride: int
    start: int


def kernel_of(layer: nn.Module) -> tuple[int, int, int]:
    """Kernel (with the gaps of its dilation), stride and padding of a layer; (1, 1, 0) for one that is pointwise.

    Raises `DataError` for layers that are neither, and for those that are not alike in x and y.
    """
    if isinstance(layer, POINTWISE):
        return 1, 1, 0
    if not isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        raise DataError(
            f"{type(layer).__name__} has no dense form here; wanted Conv2d, MaxPool2d, AvgPool2d, at the end Flatten "
            f"and Linear, and anywhere {', '.join(kind.__name__ for kind in POINTWISE)}."
        )
    found = []
    for name, default in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        value = getattr(layer, name, default)
        both = value if isinstance(value, tuple) else (value, value)
        if not all(isinstance(one, int) for one in both) or both[0] != both[1]:
            raise DataError(f"{layer} must have the same {name} in x and y, in pixels; it has {value}.")
        found.append(both[0])
    if getattr(layer, "ceil_mode", False):
        raise DataError(f"{layer} pools incomplete groups at the border (ceil_mode), so its windows are not all alike.")
    kernel, stride, padding, dilation = found
    return (kernel - 1) * dilation + 1, stride, padding


def side_after(layer: nn.Module, side: int) -> int:
    """Cells in a row after the layer, of ``side`` before; what does not fill a stride is left out."""
    kernel, stride, padding = kernel_of(layer)
    return (side + 2 * padding - kernel) // stride + 1


def geometry(layers: Iterable[nn.Module]) -> Geometry:
    """Window, stride and start of the outputs of these layers, all of them convolutions, pooling or pointwise."""
    window, jump, start = 1, 1, 0
    for layer in layers:
        kernel, stride, padding = kernel_of(layer)
        window += (kernel - 1) * jump
        start -= padding * jump
        jump *= stride
    return Geometry(window, jump, start)


def linear_as_conv(linear: nn.Linear, channels: int, side: int) -> nn.Conv2d:
    """A convolution that does to each window of side x side cells what ``linear`` does to the window, flattened.

    Its kernel is a view of the same weights. Raises `DataError` if ``linear`` does not take that many numbers.
    """
    if linear.in_features != channels * side * side:
        raise DataError(
            f"This Linear takes {linear.in_features} numbers, but a map of {channels} x {side} x {side} has "
            f"{channels * side * side}. Give the side of the window that the network was made for."
        )
    conv = nn.Conv2d(channels, linear.out_features, side, bias=linear.bias is not None, device="meta")
    conv.weight = nn.Parameter(linear.weight.detach().view(-1, channels, side, side))
    conv.bias = linear.bias
    return conv


def to_conv(network: nn.Sequential, side: int, channels: int = 3) -> nn.Sequential:
    """The network with its fully connected layers as convolutions: it takes pictures of any size from ``side`` on.

    Parameters
    ----------
    network : Sequential
        Convolutions and pooling, Flatten, then Linear layers; what is pointwise may stand anywhere.
    side, channels : int
        Of the windows that it classifies, ``(channels, side, side)``.

    Returns
    -------
    Sequential
        Maps ``(N, channels, H, W)`` to ``(N, outputs, rows, columns)`` and shares all parameters with ``network``.
        Raises `DataError` for a layer that has no dense form.

    Source: section 3.5 of the paper.
    """
    layers = []
    for layer in network:
        if isinstance(layer, nn.Flatten):
            continue
        if isinstance(layer, nn.Linear):  # after another Linear the map has a single cell
            layer = linear_as_conv(layer, channels, side)
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        side = side_after(layer, side)
        layers.append(layer)
    return nn.Sequential(*layers).train(network.training)


def crops(x: Tensor, window: int, stride: int) -> Tensor:
    """All windows of a picture, ``(C, H, W)`` to ``(rows, columns, C, window, window)``, without copying.

    Raises `DataError` if the picture is smaller than a window.
    """
    if min(x.shape[-2:]) < window:
        raise DataError(f"A picture of {x.shape[-2]} x {x.shape[-1]} px has no window of {window} px: enlarge it.")
    return x.unfold(1, window, stride).unfold(2, window, stride).permute(1, 2, 0, 3, 4)


def offset_pool(x: Tensor, size: int, least: int = 1) -> list[list[Tensor]]:
    """Max pooling in groups of size x size that begin at each of the size * size offsets: ``maps[dy][dx]``.

    Parameters
    ----------
    x : Tensor
        ``(N, C, H, W)``.
    size : int
        Kernel and stride of the pooling.
    least : int
        Rows and columns that the next layer needs; offsets that leave fewer are left out.

    Returns
    -------
    list of lists of Tensor
        ``(N, C, (H - dy) // size, (W - dx) // size)``: groups that are not whole are dropped. Raises `DataError` if
        ``x`` is too small for a single map.

    Source: section 3.3 of the paper.
    """
    rows, columns = (offsets_that_fit(side, size, least) for side in x.shape[2:])
    return [[max_pool2d(x[:, :, dy:, dx:], size) for dx in range(columns)] for dy in range(rows)]


def offsets_that_fit(side: int, size: int, least: int) -> int:
    """At how many offsets ``least`` groups of ``size`` fit into ``side`` cells; `DataError` if at none."""
    if side < size * least:
        raise DataError(f"A map {side} cells wide or high has no {least} groups of {size}: enlarge the picture.")
    return min(size, side - size * least + 1)


def interleave(maps: list[list[Tensor]], size: int) -> Tensor:
    """One map of the maps for all offsets: output i of offset dy stands in row ``size * i + dy``; columns likewise.

    ``maps[dy][dx]`` is ``(N, K, rows, columns)``, as the layers after `offset_pool` make it.
    """
    height = sum(row[0].shape[2] for row in maps)
    width = sum(one.shape[3] for one in maps[0])
    whole = maps[0][0].new_empty(*maps[0][0].shape[:2], height, width)
    for dy, row in enumerate(maps):
        for dx, one in enumerate(row):
            whole[:, :, dy::size, dx::size] = one
    return whole


def new_cells(layers: Iterable[nn.Module], x: Tensor, side: int) -> list[Tensor]:
    """Which cells a larger picture adds: for the picture and after each layer True where the first window has no such.

    Parameters
    ----------
    layers : convolutions, pooling, pointwise
    x : Tensor
        ``(1, C, H, W)``, random: cells count as the same where they have the same value.
    side : int
        Of the first window, ``x[:, :, :side, :side]``.

    Returns
    -------
    list of Tensor
        bool, ``(rows, columns)`` of each map.
    """
    small = x[:, :, :side, :side]
    found = []
    for layer in (nn.Identity(), *layers):
        x, small = layer(x), layer(small)
        new = torch.ones(x.shape[2:], dtype=torch.bool)
        rows, columns = small.shape[2:]
        new[:rows, :columns] = ~torch.isclose(x[0, :, :rows, :columns], small[0]).all(0)
        found.append(new)
    return found


def flops(network: nn.Module, *shape: int) -> int:
    """Operations of one run on an input of this shape; a multiplication and its addition count as two.

    Nothing is computed if the network lies on the device "meta".
    """
    like = next(network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(shape, dtype=like.dtype, device=like.device))
    return counter.get_total_flops()


def windows_along(side: int, window: int, stride: int) -> int:
    """How many windows fit into ``side`` pixels."""
    return max(0, (side - window) // stride + 1)


def pixel_ratio(height: int, width: int, window: int, stride: int) -> float:
    """Pixels of all windows over pixels of the picture: what sharing should gain if every pixel cost the same."""
    count = windows_along(height, window, stride) * windows_along(width, window, stride)
    return count * window**2 / (height * width)


def paper_network(outputs: int = 1000, *, thinner: int = 1, device: str = "cpu") -> nn.Sequential:
    """The paper's accurate network for windows of 221 px, with random weights.

    A picture of 221 px becomes 1024 maps of 15 x 15 cells, pooled to 5 x 5, then three fully connected layers.

    Parameters
    ----------
    outputs : int
        Of the last layer: 1000 classes.
    thinner : int
        All other widths are divided by it; windows and strides stay.
    device : str
        On "meta" the network has shapes and no numbers.

    Source: sizes of window, stride and maps as in the paper, the lecture and the authors' code; padding and widths of
    the inner layers are those that give these sizes.
    """

    def conv(before: int, after: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
        return [nn.Conv2d(before, after, kernel, stride, padding, device=device), nn.ReLU()]

    a, b, c, d, e = (width // thinner for width in (96, 256, 512, 1024, 4096))
    return nn.Sequential(
        *conv(3, a, 7, 2), nn.MaxPool2d(3),
        *conv(a, b, 7), nn.MaxPool2d(2),
        *conv(b, c, 3, padding=1), *conv(c, c, 3, padding=1),
        *conv(c, d, 3, padding=1), *conv(d, d, 3, padding=1), nn.MaxPool2d(3),
        nn.Flatten(),
        nn.Linear(25 * d, e, device=device), nn.ReLU(),
        nn.Linear(e, e, device=device), nn.ReLU(),
        nn.Linear(e, outputs, device=device),
    )  # fmt: skip
