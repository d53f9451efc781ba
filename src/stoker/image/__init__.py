"""Image operations as declarations, and the decoding that fuses them."""

from stoker.image.batch_pipeline import BatchPipeline
from stoker.image.color import ColorJitter, RandomGrayscale
from stoker.image.decode import Box, EncodedImage
from stoker.image.joint import Joint
from stoker.image.mix import CutMix, Mixup, RandomChoice
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
from stoker.image.randaugment import RandAugment
from stoker.image.spatial import GaussianBlur, RandomErasing
from stoker.image.tiles import retile

__all__ = [
    "BatchPipeline",
    "Box",
    "CenterCrop",
    "ColorJitter",
    "CutMix",
    "EncodedImage",
    "GaussianBlur",
    "Joint",
    "Mixup",
    "Normalize",
    "Pipeline",
    "RandAugment",
    "RandomChoice",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "ToFloat",
    "retile",
]
