"""One face for every pretrained classifier: named stages to cut at, preprocessing, and what may be trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize, resize, to_dtype

from course_utils.bundle import read_bundle
from course_utils.errors import CourseError, DataError
from course_utils.networks.families import Renormalized, parts_of, untrained
from course_utils.networks.files import downloaded_weights, input_of, load_strictly, read_weights
from course_utils.networks.standin import INPUT, StandIn
from course_utils.paths import data_dir, repo_root

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB values from 0 to 1


@dataclass(frozen=True)
class Stage:
    """A place where a network may be cut, or a head attached.

    Attributes
    ----------
    name : str
    stride : int
        Input pixels from one value of the map to the next; 0 where the output is a vector.
    channels : int
        Channels of the map, or length of the vector.
    """

    name: str
    stride: int
    channels: int


class Backbone(nn.Module):
    """A classifier that can be cut into stages; the stages run one after the other are the network.

    (Where a network wants pictures of another normalization than `preprocess` gives, the first stage sees to it.)

    Parameters
    ----------
    name : str
    network : Module
        The whole classifier; its modules are used, not copied.
    parts : dict
        From each stage's name to the modules that lead there from the stage before; the last ones give class scores.
    input_size : int
        Pixels per side of the square pictures that it was trained with.
    classes : sequence of str
        Meaning of the scores, in order (there is no background among them).

    Attributes
    ----------
    stages : tuple of Stage
        In order; the last part, which gives the class scores, is not among them.
    """

    def __init__(
        self, name: str, network: nn.Module, parts: dict[str, list[nn.Module]], input_size: int, classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.name, self.network, self.input_size, self.classes = name, network, input_size, tuple(classes)
        # a tuple, so that torch does not register the modules a second time
        self._parts = tuple((part, nn.Sequential(*modules)) for part, modules in parts.items())
        self._norm_frozen = False
        self.stages = self._measured()

    def _measured(self) -> tuple[Stage, ...]:
        """The stages, seen by running a picture of zeros through them."""
        stages, training = [], self.training
        self.eval()
        with torch.no_grad():
            x = torch.zeros(1, 3, self.input_size, self.input_size)
            for name, part in self._parts[:-1]:
                x = part(x)
                stages.append(Stage(name, _stride(self.input_size, x.shape[-1]) if x.ndim == 4 else 0, x.shape[1]))
        self.train(training)
        return tuple(stages)

    def stage(self, name: str) -> Stage:
        """The stage of this name; raises `CourseError` that lists those there are."""
        return self.stages[self._place(name) - 1]

    def _place(self, name: str) -> int:
        """Number of parts up to the end of the stage."""
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise CourseError(f"{self.name} has no stage {name!r}; its stages are {', '.join(names)}.")
        return names.index(name) + 1

    def layers(self, first: str | None = None, last: str | None = None) -> nn.Sequential:
        """The network's own layers behind stage ``first`` (None: from the input) to ``last`` (None: to the scores)."""
        start = 0 if first is None else self._place(first)
        stop = len(self._parts) if last is None else self._place(last)
        if start > stop:
            raise CourseError(f"{self.name}: stage {last!r} comes before {first!r}; name them in order.")
        return nn.Sequential(*(module for _, part in self._parts[start:stop] for module in part))

    def features(self, x: Tensor, stage: str) -> Tensor:
        """Output of a stage for pictures ``(N, 3, H, W)`` from `preprocess`: ``(N, C, h, w)`` or ``(N, C)``."""
        return self.layers(None, stage)(x)

    def between(self, x: Tensor, first: str, last: str | None = None) -> Tensor:
        """From the output of stage ``first`` to that of ``last`` (None: to the class scores)."""
        return self.layers(first, last)(x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores ``(N, n_classes)`` before the softmax."""
        return self.layers()(x)

    def preprocess(self, images: Sequence[np.ndarray], size: int | tuple[int, int] | None = None) -> Tensor:
        """What the network takes: pictures of one size, normalized.

        Parameters
        ----------
        images : sequence of ndarray
            uint8 ``(H, W, 3)``, RGB; of any sizes.
        size : int or (int, int), optional
            Height and width to bring each picture to, its aspect ratio not kept; None: ``input_size`` squared.

        Returns
        -------
        Tensor
            float32 ``(N, 3, height, width)``.
        """
        return normalized(resized(images, self.input_size if size is None else size))

    # ------------------------------------------------------------------------------------------------- training

    def freeze(self, up_to: str) -> "Backbone":
        """Train nothing up to and including this stage, the rest as before; returns the backbone itself."""
        self.layers(None, up_to).requires_grad_(False)
        return self

    def freeze_norm(self) -> "Backbone":
        """Keep batch normalization as it was pretrained: its statistics in training mode too, and its parameters.

        The few pictures of a fine-tuning step are too few to measure statistics on. What has not been pretrained has
        no statistics worth keeping: do not call it there.
        """
        self._norm_frozen = True
        self.train(self.training)
        for module in self._norms():
            module.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> "Backbone":
        """As for any module; frozen normalization stays in evaluation mode."""
        super().train(mode)
        if getattr(self, "_norm_frozen", False):
            for module in self._norms():
                module.eval()
        return self

    def _norms(self) -> list[nn.Module]:
        return [m for m in self.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def _stride(size: int, cells: int) -> int:
    """Input pixels from one cell to the next, if a picture of ``size`` pixels has so many cells.

    Strides of convolutional networks are powers of two, with a few cells less at the border where nothing is padded. A
    vision transformer's patches may have 14 pixels; then there are more cells than the power of two allows.
    """
    power = int(2 ** round(np.log2(size / cells)))
    return power if cells <= -(-size // power) else size // cells


def resized(images: Sequence[np.ndarray], size: int | tuple[int, int]) -> Tensor:
    """Pictures ``(H, W, 3)`` as one uint8 tensor ``(N, 3, height, width)``, resampled with antialiasing."""
    size = [size, size] if isinstance(size, int) else list(size)
    return torch.stack(
        [resize(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), size) for image in images]
    )


def normalized(pixels: Tensor) -> Tensor:
    """uint8 ``(N, 3, H, W)`` as float32 with mean 0 and deviation 1 on ImageNet; the stand-in takes the same."""
    values = normalize(to_dtype(pixels, torch.float32, scale=True), list(MEAN), list(STD))
    return values.contiguous(memory_format=torch.channels_last)  # in this order convolutions are a third faster


def open_backbone(
    name_or_file: str | Path = "standin", *, weights: str | Path | None = None, random: bool = False, seed: int = 0
) -> Backbone:
    """A classifier to build on, pretrained unless ``random``; in evaluation mode.

    Parameters
    ----------
    name_or_file : str or Path
        ``"standin"``, which ships with the course; the file of another stand-in that ``course train standin`` saved;
        or one of torchvision's classification networks by its name there, such as ``"resnet18"``.
    weights : path, optional
        File with the parameters under torchvision's names: safetensors, a state dict of `torch.save`, or npz; its name
        alone is enough where it lies in the data folder. None: the file that torchvision downloaded, or downloads now.
    random : bool
        The same network with random parameters, for comparison.
    seed : int
        Of these; does not touch torch's own random numbers.

    Returns
    -------
    Backbone
        Raises `CourseError` for an unknown name, or if the parameters are not there and cannot be downloaded; it says
        which file goes where. `DataError` for a file that is damaged or does not fit; then nothing was loaded.
    """
    name = str(name_or_file)
    if random and weights is not None:
        raise CourseError("open_backbone(random=True) takes no weights; leave one of them out.")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        if name == "standin" or Path(name).suffix == ".safetensors":
            return _standin(name, weights, random)
        return _of_torchvision(name, weights, random)


def _standin(name: str, weights: str | Path | None, random: bool) -> Backbone:
    path = Path(weights or (repo_root() / "data" / "parameters" / "standin.safetensors" if name == "standin" else name))
    if random and name == "standin":
        from course_utils.datasets.toyvoc import NET_CLASSES

        classes, state = NET_CLASSES, None
    else:
        state, info = read_bundle(path)
        if info.get("system") != "standin":
            raise DataError(f"{path} holds no stand-in; wanted a file that `course train standin` saved.")
        classes = info["classes"]
    network = StandIn(len(classes))
    if not random:
        load_strictly(network, state, path)
    parts = {part: list(modules) if isinstance(modules, nn.Sequential) else [modules] for part, modules in
             network.named_children()}  # fmt: skip
    return Backbone("standin", network, parts, INPUT, classes).eval()


def _placed(weights: str | Path) -> Path:
    """The file as it is named, or that in the data folder if only that is there."""
    path, in_data = Path(weights), data_dir() / weights
    return in_data if in_data.exists() and not path.exists() else path


def _of_torchvision(name: str, weights: str | Path | None, random: bool) -> Backbone:
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise CourseError(
            f"There is no network {name!r}: wanted 'standin', the .safetensors file of another stand-in, or a "
            "classification network of torchvision, such as alexnet, resnet18, squeezenet1_0 or vgg16."
        )
    pretrained = torchvision.models.get_model_weights(name).DEFAULT
    size, mean, std = input_of(pretrained)
    network = untrained(name, size, drawn=random)
    parts = parts_of(name, network)
    if (mean, std) != (MEAN, STD):
        first = next(iter(parts))
        parts[first] = [Renormalized((MEAN, STD), (mean, std)), *parts[first]]
    if not random:
        path = _placed(weights) if weights is not None else downloaded_weights(name)
        load_strictly(network, read_weights(path), path)
    return Backbone(name, network, parts, size, pretrained.meta["categories"]).eval()
