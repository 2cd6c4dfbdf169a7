"""Training: a readable loop, atomic and verified checkpoints, bit-identical resume, figures and curves."""

from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .curves import draw_curves
from .history import write_csv
from .state import pack, unpack
from .tasks import Task, classification, language_modelling
from .tensorboard import EventWriter
from .trainer import Trainer

__all__ = [
    "CheckpointError",
    "EventWriter",
    "Task",
    "Trainer",
    "classification",
    "draw_curves",
    "language_modelling",
    "load_checkpoint",
    "pack",
    "save_checkpoint",
    "unpack",
    "write_csv",
]
