"""Pretrained networks: the course's own stand-in, torchvision's, and the face that both show to what builds on them."""

from course_utils.networks.backbone import Backbone, Stage, open_backbone
from course_utils.networks.standin import StandIn

__all__ = ["Backbone", "Stage", "StandIn", "open_backbone"]
