"""Linear heads at every stage of a network, each solved instead of trained."""

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from course_utils.localization.data import Examples, proper
from course_utils.localization.heads import pooled, pooled_features
from course_utils.localization.judging import THRESHOLD
from course_utils.networks import Backbone


def closed_form(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The linear head with the least L2 loss, its weights penalized as leave-one-out finds best.

    Parameters
    ----------
    features : Tensor
        ``(N, ...)``; what follows the first place is flattened to D numbers, which are standardized.
    targets : Tensor
        ``(N, K)``.

    Returns
    -------
    weight, bias : Tensor
        float32 ``(K, D)`` and ``(K,)``, as of `torch.nn.Linear`.
    """
    scaler = StandardScaler()
    x = scaler.fit_transform(features.flatten(1).double().numpy())
    ridge = RidgeCV(alphas=np.logspace(0, 6, 13)).fit(x, targets.double().numpy())
    weight = ridge.coef_ / scaler.scale_
    bias = ridge.intercept_ - weight @ scaler.mean_
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def at_every_stage(backbone: Backbone, learn: Examples, test: Examples) -> dict[str, tuple[float, float]]:
    """How well linear heads do at each stage, on frozen features.

    The box is read from the map at 8 x 8 places, the class from its mean over all places.

    Returns
    -------
    dict
        By stage the shares of the test pictures with IoU >= .5, and with the right class.
    """
    names = [stage.name for stage in backbone.stages]
    known, new = (pooled_features(backbone, data.pixels, names) for data in (learn, test))
    classes = F.one_hot(learn.labels - 1)
    found = {}
    for name in names:
        boxes = F.linear(new[name].flatten(1), *closed_form(known[name], learn.boxes))
        iou = box_iou(proper(boxes), test.boxes).diagonal()
        mean, new_mean = pooled(known[name], 1), pooled(new[name], 1)
        label = 1 + F.linear(new_mean.flatten(1), *closed_form(mean, classes)).argmax(1)
        found[name] = (iou >= THRESHOLD).float().mean().item(), (label == test.labels).float().mean().item()
    return found
