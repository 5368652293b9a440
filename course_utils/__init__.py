"""Object detection from HoG to YOLO, one system at a time: the package behind the notebooks."""

from importlib.metadata import version

__version__ = version("course_utils")
