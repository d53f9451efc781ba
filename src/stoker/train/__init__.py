"""What training loops need around a loader: accumulation, batch-size search, learning-rate scaling, the noise scale."""

from stoker.train.accumulate import MicroBatch, accumulate
from stoker.train.batch_size import find_batch_size
from stoker.train.linear_scaling import LinearScalingLR
from stoker.train.noise_scale import NoiseScale, gradient_noise_scale

__all__ = [
    "LinearScalingLR",
    "MicroBatch",
    "NoiseScale",
    "accumulate",
    "find_batch_size",
    "gradient_noise_scale",
]
