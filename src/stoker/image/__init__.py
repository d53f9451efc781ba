"""Image operations as declarations, and the decoding that fuses them."""

from stoker.image.decode import Box, EncodedImage
from stoker.image.ops import (
    CenterCrop,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToFloat,
)
from stoker.image.pipeline import Pipeline
from stoker.image.tiles import retile

__all__ = [
    "Box",
    "CenterCrop",
    "EncodedImage",
    "Normalize",
    "Pipeline",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "ToFloat",
    "retile",
]
