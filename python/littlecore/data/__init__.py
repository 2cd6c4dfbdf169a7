"""Data: datasets, batches, readers, augmentations, and the data that the wheel carries.

Everything here is NumPy until `DataLoader` hands out littlecore tensors.
"""

from .audio import SPEECH_RATE, log_mel, read_wav, resample
from .bpe import BytePairTokenizer
from .counter_random import SampleRandom
from .dataset import Dataset, ImageDataset, Subset, TensorDataset, Transformed, random_split, stack
from .errors import DataError
from .gguf import GGUF, dequantize_blocks, quantize_blocks, read_gguf
from .idx import read_idx, read_labelled, write_idx
from .image_folder import ImageFolder, read_image
from .loader import DataLoader
from .resize import resize
from .scenes import Scenes, scenes
from .sources import digits, mnist, shakespeare
from .speech import VOICE_RATE, Phrase, speak
from .text import ByteTokenizer, CharTokenizer, TextWindows, read_text
from .transforms import (
    Cutout,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomShift,
    ToFloat,
)

__all__ = [
    "GGUF",
    "SPEECH_RATE",
    "VOICE_RATE",
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Cutout",
    "DataError",
    "DataLoader",
    "Dataset",
    "ImageDataset",
    "ImageFolder",
    "Normalize",
    "Phrase",
    "RandomAffine",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomShift",
    "SampleRandom",
    "Scenes",
    "Subset",
    "TensorDataset",
    "TextWindows",
    "ToFloat",
    "Transformed",
    "dequantize_blocks",
    "digits",
    "log_mel",
    "mnist",
    "quantize_blocks",
    "random_split",
    "read_gguf",
    "read_idx",
    "read_image",
    "read_labelled",
    "read_text",
    "read_wav",
    "resample",
    "resize",
    "scenes",
    "shakespeare",
    "speak",
    "stack",
    "write_idx",
]
