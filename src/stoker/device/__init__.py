"""Batches on a device: copied on a stream of their own, ahead of the loop, and worked on there."""

from stoker.device.prefetch import Prefetcher, prefetch

__all__ = ["Prefetcher", "prefetch"]
