"""Datasets: index to sample, or indices to batch. One file for each source."""

from stoker.data.arrays import Arrays
from stoker.data.cached import Cached
from stoker.data.dataset import Dataset
from stoker.data.folder import ImageFolder
from stoker.data.in_memory import InMemory
from stoker.data.shared_list import SharedList

__all__ = ["Arrays", "Cached", "Dataset", "ImageFolder", "InMemory", "SharedList"]
