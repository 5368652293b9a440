"""What is attached to a classifier: a head that gives boxes; its losses; both heads on one network."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from course_utils.errors import CourseError
from course_utils.networks.backbone import Backbone, normalized

GRID = 8  # a map is averaged to at most this many places a side before a box head reads it
AT_ONCE = 64  # pictures that go through a network together when nothing is trained


def l2(boxes: Tensor, truth: Tensor) -> Tensor:
    """Sum of the four squared differences, mean over the pictures; ``(N, 4)`` each, unit coordinates."""
    return (boxes - truth).square().sum(1).mean()


def smooth_l1(boxes: Tensor, truth: Tensor) -> Tensor:
    """Squared near the truth, linear from a tenth of the picture on: a bad box pulls no harder than a middling one."""
    return F.smooth_l1_loss(boxes, truth, beta=0.1, reduction="none").sum(1).mean()


def giou(boxes: Tensor, truth: Tensor) -> Tensor:
    """1 - generalized IoU, which has a gradient where boxes do not touch (Rezatofighi et al., CVPR 2019)."""
    corners = boxes.unflatten(1, (2, 2))
    return generalized_box_iou_loss(torch.cat((corners.amin(1), corners.amax(1)), 1), truth, reduction="mean")


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l2": l2, "smooth_l1": smooth_l1, "giou": giou}


def pooled(features: Tensor, grid: int = GRID) -> Tensor:
    """What a box head reads of a stage: a map averaged to at most ``grid`` places a side; a vector as it is.

    Otherwise the 131,072 numbers of the stand-in's first stage would stand against the 10,240 of its fifth.
    """
    if features.ndim == 2:
        return features
    height, width = features.shape[2:]
    return F.adaptive_avg_pool2d(features, (min(height, grid), min(width, grid)))


class BoxHead(nn.Module):
    """Four numbers on top of a stage, or four for each class.

    Parameters
    ----------
    inputs : int
        Numbers that it reads of each picture.
    classes : int
        0: one box, whatever the class. Else a box for each.
    hidden : int
        Units of a hidden layer; 0: the head is linear.
    """

    def __init__(self, inputs: int, classes: int = 0, hidden: int = 0) -> None:
        super().__init__()
        self.classes = classes
        last = nn.Linear(hidden or inputs, 4 * (classes or 1))
        before = [nn.Dropout(0.5), nn.Linear(inputs, hidden), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(nn.Flatten(), *before, last)
        nn.init.normal_(last.weight, std=0.001)
        with torch.no_grad():  # begin with the middle half of the picture
            last.bias.copy_(torch.tensor([0.25, 0.25, 0.75, 0.75]).tile(classes or 1))

    def forward(self, features: Tensor) -> Tensor:
        """Boxes in unit coordinates, as they come: ``(N, 4)``, or ``(N, classes, 4)``."""
        out = self.layers(features)
        return out.unflatten(1, (self.classes, 4)) if self.classes else out


def box_of_class(boxes: Tensor, labels: Tensor) -> Tensor:
    """Of each picture the box of one class: in training of the true one, in a test of the *predicted* one.

    Parameters
    ----------
    boxes : Tensor
        ``(N, classes, 4)``; or ``(N, 4)``, which serve all classes.
    labels : Tensor
        int64 ``(N,)``, from 1.
    """
    if boxes.ndim == 2:
        return boxes
    return boxes[torch.arange(len(boxes)), labels - 1]  # (N, 4)


class Localizer(nn.Module):
    """A network with two heads: where, attached to any stage; and what, on its last one.

    Parameters
    ----------
    backbone : Backbone
        Its layers are used, not copied.
    stage : str
        Where the box head is attached.
    n_classes : int
    hidden : int
        As for `BoxHead`.
    top : str, optional
        Where the head of the classes is attached; None: the last stage.
    specific : bool
        A box for each class.

    Attributes
    ----------
    scale : Tensor
        What the box head divides its features by: 1, or whatever brings those of a network without normalization to
        a size at which the head's units survive the first steps.
    """

    def __init__(
        self,
        backbone: Backbone,
        stage: str,
        n_classes: int,
        *,
        top: str | None = None,
        hidden: int = 0,
        specific: bool = False,
    ) -> None:
        super().__init__()
        self.lower, self.upper = backbone.layers(None, stage), backbone.layers(stage, top or backbone.stages[-1].name)
        self._backbone = (backbone,)  # in a tuple, so that its parameters are not registered twice
        at, top_features = self.features(torch.zeros(1, 3, backbone.input_size, backbone.input_size, dtype=torch.uint8))
        self.register_buffer("scale", torch.ones(()))
        self.box = BoxHead(at.numel(), n_classes if specific else 0, hidden)
        self.what = nn.Linear(top_features.numel(), n_classes)
        nn.init.zeros_(self.what.weight)
        nn.init.zeros_(self.what.bias)

    @property
    def normalizes(self) -> bool:
        """Whether there is normalization below the box head, as in all networks since 2015."""
        norms = nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm
        return any(isinstance(module, norms) for module in self.lower.modules())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes as `BoxHead` gives them, and class scores ``(N, n_classes)``, of preprocessed pictures."""
        at = self.lower(x)
        return self.heads(pooled(at), pooled(self.upper(at), 1))

    def heads(self, at: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
        """The same from what `features` gives."""
        return self.box(at / self.scale), self.what(top.flatten(1))

    @torch.no_grad()
    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What the two heads read of uint8 pictures ``(N, 3, H, W)``, on the CPU; nothing in it can be trained."""
        device = next(self.lower.parameters()).device
        at, top = [], []
        for some in pixels.split(AT_ONCE):
            x = self.lower(normalized(some.to(device)))
            at.append(pooled(x).cpu())
            top.append(pooled(self.upper(x), 1).cpu())
        return torch.cat(at), torch.cat(top)

    def train(self, mode: bool = True) -> "Localizer":
        """As for any module, but the backbone decides what its frozen normalization does."""
        super().train(mode)
        self._backbone[0].train(mode)
        return self


def pooled_features(backbone: Backbone, pixels: Tensor, stages: Iterable[str]) -> dict[str, Tensor]:
    """What heads on frozen stages read, computed once.

    Parameters
    ----------
    backbone : Backbone
        In evaluation mode, on the CPU or wherever its parameters are.
    pixels : Tensor
        uint8 ``(N, 3, H, W)``.
    stages : names of stages

    Returns
    -------
    dict
        By stage `pooled`, float32 on the CPU. Raises `CourseError` if the backbone is in training mode.
    """
    if backbone.training:
        raise CourseError("Features are computed in evaluation mode: call backbone.eval() first.")
    device = next(backbone.parameters()).device
    names = [stage.name for stage in backbone.stages if stage.name in set(stages)]
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.no_grad():
        for some in pixels.split(AT_ONCE):
            x, before = normalized(some.to(device)), None
            for name in names:
                x, before = backbone.between(x, before, name), name
                found[name].append(pooled(x).cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}
