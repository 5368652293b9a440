"""Where torchvision's classification networks are cut, family by family; the names are those of papers or modules."""

import re
from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import Permute

from course_utils.errors import CourseError

Parts = dict[str, list[nn.Module]]
"""From each stage's name to the modules that lead there from the stage before; the last ones give class scores."""


def untrained(name: str, size: int, *, drawn: bool = True) -> nn.Module:
    """The network as torchvision builds it for pictures of ``size`` pixels a side, with random parameters.

    ``drawn=False``: with any, for they will be replaced; drawing those of two old networks takes long.
    """
    more = {}
    if name in ("googlenet", "inception_v3"):  # as torchvision builds them to take its pretrained parameters
        more = {"transform_input": True, "aux_logits": True, "init_weights": drawn}
    if name.startswith("vit"):
        more = {"image_size": size}
    return torchvision.models.get_model(name, weights=None, **more)


class Renormalized(nn.Module):
    """Pictures normalized with one mean and deviation of RGB values, brought to another.

    Parameters
    ----------
    before, after : pair of sequences of float
        Mean and standard deviation of the three channels.
    """

    def __init__(self, before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> None:
        super().__init__()
        (mean, std), (new_mean, new_std) = (torch.tensor(one).reshape(2, 3, 1, 1) for one in (before, after))
        self._scale, self._shift = std / new_std, (mean - new_mean) / new_std

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape ``(N, 3, H, W)``."""
        return x * self._scale.to(x) + self._shift.to(x)


class _OwnInput(nn.Module):
    """How googlenet and inception_v3 bring ImageNet's normalization to their own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = (network,)  # in a tuple, so that its parameters are not registered here

    def forward(self, x: Tensor) -> Tensor:
        return self._network[0]._transform_input(x)


class _ClassToken(nn.Module):
    """A vision transformer from its map of patches ``(N, C, h, w)`` to the vector of its class token ``(N, C)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.token, self.encoder = network.class_token, network.encoder

    def forward(self, x: Tensor) -> Tensor:
        patches = x.flatten(2).transpose(1, 2)  # (N, h * w, C)
        places = self.encoder.pos_embedding.shape[1] - 1
        if patches.shape[1] != places:
            raise CourseError(
                f"This vision transformer has positions for {places} patches, and the pictures have "
                f"{patches.shape[1]}: it takes pictures of its input size only."
            )
        return self.encoder(torch.cat((self.token.expand(len(x), -1, -1), patches), dim=1))[:, 0]


def parts_of(name: str, network: nn.Module) -> Parts:
    """Cut the network ``name`` of torchvision; run one after the other the parts are the network.

    Maps come out as ``(N, C, h, w)``, also of networks that keep the channels last. A network's auxiliary classifiers,
    which only its own training uses, belong to no part. Raises `CourseError` for a family that is not known here.
    """
    family = re.match(r"[a-z]+", name).group()
    if family not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise CourseError(f"The course does not know where to cut {name}. It knows the families {known}.")
    return _FAMILIES[family](network)


def _pooled(classifier: Sequence[nn.Module], pool: nn.Module | None = None) -> Parts:
    """The usual end: the mean over the map, then the classifier."""
    return {"pool": [pool or nn.AdaptiveAvgPool2d(1), nn.Flatten()], "fc": list(classifier)}


def _alexnet(network: nn.Module) -> Parts:
    f, c = list(network.features), list(network.classifier)
    parts = {"conv1": f[:2], "conv2": f[2:5], "conv3": f[5:8], "conv4": f[8:10], "conv5": f[10:12]}
    return parts | {"fc6": [f[12], network.avgpool, nn.Flatten(), *c[:3]], "fc7": c[3:6], "fc8": c[6:]}


def _vgg(network: nn.Module) -> Parts:
    blocks: list[list[nn.Module]] = [[]]
    for module in network.features:  # a pooling begins the next block
        if isinstance(module, nn.MaxPool2d):
            blocks.append([])
        blocks[-1].append(module)
    c = list(network.classifier)
    parts = {f"conv{number}": block for number, block in enumerate(blocks[:5], 1)}
    return parts | {"fc6": [*blocks[5], network.avgpool, nn.Flatten(), *c[:3]], "fc7": c[3:6], "fc8": c[6:]}


def _squeezenet(network: nn.Module) -> Parts:
    f = list(network.features)
    a, b, c = (i for i, module in enumerate(f) if isinstance(module, nn.MaxPool2d))
    # the fire modules are numbered from 2 on; each pooling takes a number in f as well
    parts = {"conv1": f[:a], f"fire{b - a}": f[a:b], f"fire{c - a - 1}": f[b:c], "fire9": f[c:]}
    return parts | {"conv10": [*network.classifier, nn.Flatten()]}


def _resnet(network: nn.Module) -> Parts:
    n = network
    parts = {"conv1": [n.conv1, n.bn1, n.relu], "layer1": [n.maxpool, n.layer1]}
    parts |= {"layer2": [n.layer2], "layer3": [n.layer3], "layer4": [n.layer4]}
    return parts | _pooled([n.fc], n.avgpool)


def _blocks(network: nn.Module) -> Parts:
    """mobilenet, efficientnet: a list of blocks."""
    parts = {f"features{number}": [module] for number, module in enumerate(network.features)}
    return parts | _pooled(network.classifier, getattr(network, "avgpool", None))


def _convnext(network: nn.Module) -> Parts:
    parts = {f"features{number}": [module] for number, module in enumerate(network.features)}
    c = list(network.classifier)  # which normalizes the mean before it becomes a vector
    return parts | {"pool": [network.avgpool, *c[:2]], "fc": c[2:]}


def _densenet(network: nn.Module) -> Parts:
    f = network.features
    parts = {"conv0": [f.conv0, f.norm0, f.relu0], "denseblock1": [f.pool0, f.denseblock1]}
    parts |= {"denseblock2": [f.transition1, f.denseblock2], "denseblock3": [f.transition2, f.denseblock3]}
    parts |= {"denseblock4": [f.transition3, f.denseblock4, f.norm5, nn.ReLU()]}
    return parts | _pooled([network.classifier])


def _googlenet(network: nn.Module) -> Parts:
    n = network
    parts = {"conv1": [_OwnInput(n), n.conv1], "conv3": [n.maxpool1, n.conv2, n.conv3]}
    parts |= {"inception3": [n.maxpool2, n.inception3a, n.inception3b]}
    parts |= {"inception4": [n.maxpool3, *(getattr(n, f"inception4{letter}") for letter in "abcde")]}
    parts |= {"inception5": [n.maxpool4, n.inception5a, n.inception5b]}
    return parts | _pooled([n.dropout, n.fc], n.avgpool)


def _inception(network: nn.Module) -> Parts:
    n = network
    parts = {"conv2": [_OwnInput(n), n.Conv2d_1a_3x3, n.Conv2d_2a_3x3, n.Conv2d_2b_3x3]}
    parts |= {"conv4": [n.maxpool1, n.Conv2d_3b_1x1, n.Conv2d_4a_3x3]}
    parts |= {"mixed5": [n.maxpool2, n.Mixed_5b, n.Mixed_5c, n.Mixed_5d]}
    parts |= {"mixed6": [getattr(n, f"Mixed_6{letter}") for letter in "abcde"]}
    parts |= {"mixed7": [n.Mixed_7a, n.Mixed_7b, n.Mixed_7c]}
    return parts | _pooled([n.dropout, n.fc], n.avgpool)


def _mnasnet(network: nn.Module) -> Parts:
    layers = list(network.layers)
    parts = {"conv1": layers[:8]}
    parts |= {f"stack{number}": [layer] for number, layer in enumerate(layers[8:14], 1)}
    parts[f"stack{len(layers[8:14])}"] += layers[14:]
    return parts | _pooled(network.classifier)


def _shufflenet(network: nn.Module) -> Parts:
    n = network
    parts = {"conv1": [n.conv1], "stage2": [n.maxpool, n.stage2], "stage3": [n.stage3], "stage4": [n.stage4]}
    return parts | {"conv5": [n.conv5]} | _pooled([n.fc])


def _regnet(network: nn.Module) -> Parts:
    parts = {"stem": [network.stem]} | {name: [block] for name, block in network.trunk_output.named_children()}
    return parts | _pooled([network.fc], network.avgpool)


def _swin(network: nn.Module) -> Parts:
    f, first, last = list(network.features), (0, 3, 1, 2), (0, 2, 3, 1)  # where the channels stand
    parts = {"stage1": [*f[:2], Permute(first)]}
    for number in (2, 3, 4):
        parts[f"stage{number}"] = [Permute(last), *f[2 * number - 2 : 2 * number], Permute(first)]
    parts["stage4"].insert(-1, network.norm)
    return parts | _pooled([network.head], network.avgpool)


def _maxvit(network: nn.Module) -> Parts:
    parts = {"stem": [network.stem]} | {f"block{number}": [block] for number, block in enumerate(network.blocks, 1)}
    c = list(network.classifier)  # mean, vector, normalization, a hidden layer, class scores
    return parts | {"pool": c[:2], "hidden": c[2:-1], "fc": c[-1:]}


def _vit(network: nn.Module) -> Parts:
    """Its map of patches has been looked at by one convolution only; then all is in one vector."""
    return {"conv_proj": [network.conv_proj], "encoder": [_ClassToken(network)], "heads": list(network.heads)}


_FAMILIES = {
    "alexnet": _alexnet,
    "convnext": _convnext,
    "densenet": _densenet,
    "efficientnet": _blocks,
    "googlenet": _googlenet,
    "inception": _inception,
    "maxvit": _maxvit,
    "mnasnet": _mnasnet,
    "mobilenet": _blocks,
    "regnet": _regnet,
    "resnet": _resnet,
    "resnext": _resnet,
    "shufflenet": _shufflenet,
    "squeezenet": _squeezenet,
    "swin": _swin,
    "vgg": _vgg,
    "vit": _vit,
    "wide": _resnet,
}
