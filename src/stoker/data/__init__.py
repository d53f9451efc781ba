"""Datasets: index to sample, or indices to batch. One file for each source."""

from stoker.data.array_files import ArrayFiles
from stoker.data.arrays import Arrays
from stoker.data.cached import Cached
from stoker.data.dataset import Dataset
from stoker.data.filtered import Filtered
from stoker.data.folder import ImageFolder
from stoker.data.hdf5 import HDF5
from stoker.data.hugging_face import HuggingFace
from stoker.data.in_memory import InMemory
from stoker.data.packed_sequences import PackedSequences
from stoker.data.shared_list import SharedList
from stoker.data.tables import Table
from stoker.data.tars import Tars
from stoker.data.tokens import Tokens

__all__ = [
    "HDF5",
    "ArrayFiles",
    "Arrays",
    "Cached",
    "Dataset",
    "Filtered",
    "HuggingFace",
    "ImageFolder",
    "InMemory",
    "PackedSequences",
    "SharedList",
    "Table",
    "Tars",
    "Tokens",
]
