"""Image classifiers on the embedded digits, on MNIST-like IDX folders, on CIFAR-10 and on folders of image files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from littlecore import data as lcdata
from littlecore.data.errors import existing_folder
from littlecore.data.idx import MNIST_FILES, find_mnist_file

from ..tasks import classification
from ..trainer import Trainer
from .config import Config
from .optimization import adamw, warmup_cosine

CIFAR_CLASSES = "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
Facts = dict[str, Any]


@dataclass(frozen=True)
class VisionConfig(Config):
    """`data`: "digits" (in the wheel), a folder of MNIST's four IDX files, of CIFAR-10's six, or of image files."""

    data: str = "digits"
    validation: float = 0.1  # the part of the training images that is kept for validation
    shift: float = 0.0  # augmentation: up to this part of the width and height
    degrees: float = 0.0  # rotation up to this angle
    zoom: float = 0.0  # scaling by up to 1 +- this
    shear: float = 0.0  # degrees
    cutout: int = 0  # side of a square of zeros, pixels
    flip: bool = False
    label_smoothing: float = 0.0
    image_size: int = 28  # image files are resized to this
    channels: int = 1  # image files are read with 1 (grey) or 3 (RGB)


@dataclass(frozen=True)
class MlpConfig(VisionConfig):
    """`hidden`: widths of the hidden layers."""

    hidden: tuple[int, ...] = (256, 128)
    dropout: float = 0.1


@dataclass(frozen=True)
class VitConfig(VisionConfig):
    """A small Vision Transformer."""

    patch_size: int = 4
    layers: int = 4
    heads: int = 4
    width: int = 96
    dropout: float = 0.1


_DIGITS: dict[str, Any] = {"shift": 0.08, "degrees": 10.0, "zoom": 0.1, "shear": 5.0}
_EMBEDDED: dict[str, VisionConfig] = {
    "lenet": VisionConfig(epochs=40, lr=3e-3, **_DIGITS),
    "mlp": MlpConfig(epochs=60, lr=3e-3, **_DIGITS),
    "resnet": VisionConfig(epochs=20, lr=5e-3, **_DIGITS),
    "vit": VitConfig(epochs=40, lr=2e-3, **_DIGITS),
}
_LARGE: dict[str, dict[str, Any]] = {
    "lenet": {"epochs": 10, "batch_size": 128, "lr": 3e-3},
    "mlp": {"epochs": 20, "batch_size": 128, "lr": 2e-3},
    "resnet": {"epochs": 8, "batch_size": 128, "lr": 5e-3, "shift": 0.07, "degrees": 8.0, "zoom": 0.08},
    "vit": {"epochs": 20, "batch_size": 128, "lr": 1e-3},
}


def defaults(name: str, data: str | None) -> VisionConfig:
    """The recipe of model `name` for the embedded digits or for a folder."""
    config = _EMBEDDED[name]
    if data is None or data == config.data:
        return config
    return replace(config, data=data, **_LARGE[name])


@dataclass(frozen=True)
class Images:
    """The three parts of an image data set, and the facts that a model and a prediction need."""

    train: lcdata.Dataset
    validation: lcdata.Dataset
    test: lcdata.Dataset
    facts: Facts


def load(config: VisionConfig) -> Images:
    """The data that `config` names. Facts: classes (names), channels, image_size, mean and std of the pixels."""
    if not 0 < config.validation < 1:
        raise ValueError(f"setting validation: {config.validation} is not between 0 and 1")
    classes = [str(digit) for digit in range(10)]
    train: lcdata.Dataset
    test: lcdata.Dataset
    if config.data == "digits":
        train, test = lcdata.digits()
    elif any(find_mnist_file(Path(config.data), name) for name in MNIST_FILES.values()):
        train, test = lcdata.mnist(config.data)
    elif (Path(config.data) / "test_batch.bin").is_file():
        train, test = lcdata.cifar(config.data)
        classes = list(CIFAR_CLASSES)
    else:
        train, test, classes = _image_folders(config)
    if isinstance(train, lcdata.ImageDataset):
        pixels = train.arrays[0]
        mean, std = float(pixels.mean() / 255), float(pixels.std() / 255)
    else:
        mean, std = 0.5, 0.25
    channels, height, width = np.shape(train[0][0])
    if height != width:
        raise lcdata.DataError(config.data, f"images of {height} x {width} pixels; square ones are needed")
    facts = {"classes": classes, "channels": channels, "image_size": height, "mean": mean, "std": std}
    kept, validation = lcdata.random_split(train, [1 - config.validation, config.validation], seed=config.seed)
    if not len(kept) or not len(validation):
        raise lcdata.DataError(config.data, f"{len(train)} training images are too few to keep some for validation")
    return Images(kept, validation, test, facts)


def _image_folders(config: VisionConfig) -> tuple[lcdata.Dataset, lcdata.Dataset, list[str]]:
    """(train, test, class names) from DATA/train and DATA/test (or val), or from class folders cut 4 to 1."""
    root = existing_folder(config.data)
    options = {"channels": config.channels, "size": config.image_size}
    if (root / "train").is_dir():
        held_out = next((root / name for name in ("test", "val", "validation") if (root / name).is_dir()), None)
        if held_out is None:
            raise lcdata.DataError(root, "there is a folder train, but no folder test or val beside it")
        train, test = lcdata.ImageFolder(root / "train", **options), lcdata.ImageFolder(held_out, **options)
        if train.classes != test.classes:
            raise lcdata.DataError(held_out, f"classes {test.classes} are not those of train, {train.classes}")
        return train, test, train.classes
    if not any(entry.is_dir() for entry in root.iterdir()):
        names = ", ".join(MNIST_FILES.values())
        raise lcdata.DataError(root, f"neither MNIST's files ({names}), CIFAR-10's nor one folder of images per class")
    whole = lcdata.ImageFolder(root, **options)
    kept, test_part = lcdata.random_split(whole, [0.8, 0.2], seed=config.seed)
    return kept, test_part, whole.classes


def make_model(name: str, config: VisionConfig, facts: Facts) -> Any:
    """The model `name` for images with these facts, with fresh weights."""
    from littlecore import models

    classes, channels, size = len(facts["classes"]), facts["channels"], facts["image_size"]
    if isinstance(config, MlpConfig):
        return models.mlp((channels * size * size, *config.hidden, classes), dropout=config.dropout)
    if isinstance(config, VitConfig):
        return models.vit(
            image_size=size,
            patch_size=config.patch_size,
            num_layers=config.layers,
            num_heads=config.heads,
            hidden_dim=config.width,
            mlp_dim=2 * config.width,
            dropout=config.dropout,
            num_classes=classes,
            in_channels=channels,
        )
    if name == "resnet":
        return models.resnet20(classes, in_channels=channels)
    if size != 28:
        raise ValueError(f"lenet takes images of 28 x 28 pixels, these have {size} x {size}")
    return models.lenet(classes, in_channels=channels)


def augmentations(config: VisionConfig) -> list[Any]:
    """The transforms that `config` asks for in training."""
    chosen: list[Any] = []
    if config.shift or config.degrees or config.zoom or config.shear:
        zoom = (1 - config.zoom, 1 + config.zoom)
        chosen.append(lcdata.RandomAffine(config.degrees, config.shift, zoom, config.shear))
    if config.flip:
        chosen.append(lcdata.RandomHorizontalFlip())
    if config.cutout:
        chosen.append(lcdata.Cutout(config.cutout))
    return chosen


def build(
    name: str, config: VisionConfig, out: Path | None = None, console: Console | None = None
) -> tuple[Trainer, Facts]:
    """A Trainer for model `name`, and the facts of its data."""
    import littlecore as lc

    images = load(config)
    lc.manual_seed(config.seed)
    model = make_model(name, config, images.facts).to(config.device)
    normalize = lcdata.Normalize(images.facts["mean"], images.facts["std"])

    def loader(dataset: lcdata.Dataset, batch_size: int, *extra: Any, **options: Any) -> lcdata.DataLoader:
        dataset = lcdata.Transformed(dataset, *extra, normalize)
        return lcdata.DataLoader(dataset, batch_size, num_workers=config.workers, seed=config.seed, **options)

    train = loader(images.train, config.batch_size, *augmentations(config), shuffle=True)
    optimizer = adamw(model, config)
    trainer = Trainer(
        model,
        classification(config.label_smoothing),
        optimizer,
        train,
        epochs=config.epochs,
        validation=loader(images.validation, 500),
        test=loader(images.test, 500),
        scheduler=warmup_cosine(optimizer, config.epochs * len(train), config.warmup),
        clip_norm=config.clip_norm,
        patience=config.patience,
        out=out,
        device=config.device,
        title=f"{name} on {Path(config.data).name}",
        console=console,
    )
    return trainer, images.facts
