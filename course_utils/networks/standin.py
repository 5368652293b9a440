"""A small network in the manner of AlexNet, which stands in for the ImageNet models of the papers."""

from collections import OrderedDict

from torch import nn

INPUT = 128  # pixels per side: ToyNet's and ToyVOC's scenes at half their size
WIDTHS = (24, 48, 96, 128, 128)  # channels of conv1 to conv5
HIDDEN = 256  # of fc6 and fc7


class StandIn(nn.Sequential):
    """Five convolutions and three fully connected layers, as AlexNet has them, with batch normalization.

    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012.
    Input: float32 ``(N, 3, 128, 128)``, normalized as `Backbone.preprocess` does; output: class scores ``(N, n)``
    before the softmax.

    Parameters
    ----------
    n_classes : int
        Scores that fc8 gives.
    dropout : float
        Part of fc6's and fc7's outputs that is dropped in training.

    Attributes
    ----------
    conv1 ... conv5 : Sequential
        Strides 2, 4, 8, 8, 16; a max pooling, where there is one, stands at the beginning of the next layer.
    fc6 : Sequential
        Max pooling to 4 x 4, of whatever map comes in (a window of conv5's map, too), then fully connected.
    fc7, fc8 : Sequential, Linear
    """

    def __init__(self, n_classes: int, *, dropout: float = 0.3) -> None:
        c1, c2, c3, c4, c5 = WIDTHS
        super().__init__(
            OrderedDict(
                conv1=nn.Sequential(*_convolution(3, c1, 5, stride=2)),
                conv2=nn.Sequential(nn.MaxPool2d(2), *_convolution(c1, c2, 3)),
                conv3=nn.Sequential(nn.MaxPool2d(2), *_convolution(c2, c3, 3)),
                conv4=nn.Sequential(*_convolution(c3, c4, 3)),
                conv5=nn.Sequential(nn.MaxPool2d(2), *_convolution(c4, c5, 3)),
                fc6=nn.Sequential(
                    nn.AdaptiveMaxPool2d(4),
                    nn.Flatten(),
                    *_connected(16 * c5, HIDDEN),
                    nn.Dropout(dropout),
                ),
                fc7=nn.Sequential(*_connected(HIDDEN, HIDDEN), nn.Dropout(dropout)),
                fc8=nn.Linear(HIDDEN, n_classes),
            )
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.fc8.weight, std=0.01)


def _convolution(before: int, after: int, size: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """Convolution that keeps the size (but for the stride), batch normalization, ReLU."""
    convolution = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def _connected(before: int, after: int) -> tuple[nn.Module, ...]:
    """Fully connected, batch normalization, ReLU."""
    return nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)
