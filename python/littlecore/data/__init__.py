"""Data: datasets, batches, readers, augmentations, and the data that the wheel carries.

Everything here is NumPy until `DataLoader` hands out littlecore tensors.
"""

from . import algorithmic_tasks
from .algorithmic_tasks import AlgorithmicTask
from .audio import SPEECH_RATE, log_mel, read_wav, resample
from .bpe import BytePairTokenizer
from .catalogues import read_catalogue, read_catalogues
from .cifar import cifar, read_cifar
from .counter_random import SampleRandom
from .dataset import Dataset, ImageDataset, Subset, TensorDataset, Transformed, random_split, stack
from .errors import DataError
from .ggml_blocks import dequantize_blocks, quantize_blocks
from .gguf import GGUF, read_gguf
from .idx import read_idx, read_labelled, write_idx
from .image_folder import ImageFolder, read_image
from .loader import DataLoader
from .objects import VOC_CLASSES, VOID, Photograph, Photographs, read_coco, read_mask, read_photographs, read_voc
from .resize import resize
from .scenes import Scenes, scenes
from .sources import digits, mnist, shakespeare
from .speech import VOICE_RATE, Phrase, speak
from .text import ByteTokenizer, CharTokenizer, TextWindows, read_text
from .transforms import (
    ColorJitter,
    Cutout,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomShift,
    ToFloat,
)
from .word_piece import WordPieceTokenizer

__all__ = [
    "GGUF",
    "SPEECH_RATE",
    "VOC_CLASSES",
    "VOICE_RATE",
    "VOID",
    "AlgorithmicTask",
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "ColorJitter",
    "Cutout",
    "DataError",
    "DataLoader",
    "Dataset",
    "ImageDataset",
    "ImageFolder",
    "Normalize",
    "Photograph",
    "Photographs",
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
    "WordPieceTokenizer",
    "algorithmic_tasks",
    "cifar",
    "dequantize_blocks",
    "digits",
    "log_mel",
    "mnist",
    "quantize_blocks",
    "random_split",
    "read_catalogue",
    "read_catalogues",
    "read_cifar",
    "read_coco",
    "read_gguf",
    "read_idx",
    "read_image",
    "read_labelled",
    "read_mask",
    "read_photographs",
    "read_text",
    "read_voc",
    "read_wav",
    "resample",
    "resize",
    "scenes",
    "shakespeare",
    "speak",
    "stack",
    "write_idx",
]
