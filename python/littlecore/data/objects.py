"""Photographs and the boxes of what they show, in the formats of PASCAL VOC and COCO.

Every file is checked when the folder is read: what contradicts itself, its images or their sizes is refused by the
names of file and field.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from .errors import DataError, existing_folder
from .image_folder import read_image
from .scenes import Scenes
from .text import read_text

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = 255  # in masks: nobody can tell
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Photograph:
    """An image file and its objects."""

    path: Path
    size: tuple[int, int]  # width, height in pixels
    boxes: tuple[Box, ...]  # left, top, right, bottom in pixels, right and bottom exclusive
    labels: tuple[int, ...]  # of each box, an index into the classes
    mask: Path | None = None  # of segmentation: an image of 0 the ground, 1 + class, VOID


@dataclass(frozen=True)
class Photographs:
    """Annotated images, decoded when asked for."""

    classes: tuple[str, ...]
    photographs: tuple[Photograph, ...]

    def __len__(self) -> int:
        return len(self.photographs)

    def scenes(self, size: int) -> Scenes:
        """All of them, squeezed to size x size. `shapes` are indices into `classes`, `colours` all -1.

        `masks` are zeros unless every photograph has one; its pixels are then picked, never mixed.
        """
        n, most = len(self), max((len(p.boxes) for p in self.photographs), default=0)
        boxes, labels = np.zeros((n, max(most, 1), 4), np.float32), np.full((n, max(most, 1)), -1, np.int64)
        images, masks = np.zeros((n, 3, size, size), np.float32), np.zeros((n, size, size), np.int64)
        masked = all(p.mask is not None for p in self.photographs)
        for k, photograph in enumerate(self.photographs):
            images[k] = read_image(photograph.path, size=size) * np.float32(1 / 255)
            scale = np.array(2 * photograph.size, np.float32) / size
            for m, (box, label) in enumerate(zip(photograph.boxes, photograph.labels, strict=True)):
                boxes[k, m], labels[k, m] = np.array(box, np.float32) / scale, label
            if masked:
                mask = read_mask(photograph, len(self.classes))
                rows, columns = (((np.arange(size) + 0.5) * side / size).astype(int) for side in mask.shape)
                masks[k] = mask[np.ix_(rows, columns)]
        return Scenes(images, masks, labels, np.full_like(labels, -1), boxes)


def read_mask(photograph: Photograph, classes: int) -> npt.NDArray[np.uint8]:
    """The class of every pixel, 0 the ground, 1 + class, VOID.    [height, width]

    DataError for a mask that is no PNG of indices, is not of the photograph's size or has more classes.
    """
    from PIL import Image

    path = photograph.mask
    if path is None:
        raise ValueError(f"read_mask: {photograph.path} has no mask")
    try:
        with Image.open(path) as image:
            mode, mask = image.mode, np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(path, f"not a readable image ({error})") from None
    if mode not in ("P", "L"):
        raise DataError(path, f"a mask holds an index for each pixel (mode P or L), this one is of mode {mode}")
    if mask.shape[::-1] != photograph.size:
        raise DataError(path, f"its size is {mask.shape[::-1]}, that of {photograph.path.name} is {photograph.size}")
    wrong = mask[(mask > classes) & (mask != VOID)]
    if wrong.size:
        raise DataError(path, f"pixel value {wrong[0]} is neither one of 0 to {classes} nor {VOID}")
    return mask


def _image_in(folder: Path, name: str, source: Path, field: str) -> Path:
    """The image that `field` of the file `source` names, which has to lie below `folder`."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(source, f"{field} {name!r} leads out of {folder.name}")
    if not os.path.isfile(folder / name):  # false for a name that no file can have, where Path.is_file raises
        raise DataError(source, f"{field} {name!r}: there is no such file in {folder.name}")
    return folder / name


def _image_size(path: Path) -> tuple[int, int]:
    """Width and height from an image file's header."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('reading image files needs Pillow: pip install "littlecore[vision]"') from None
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(path, f"not a readable image ({error})") from None


def _check_box(path: Path, field: str, box: Box, size: tuple[int, int]) -> Box:
    """The box, cut at the image's edges, which rounded numbers may overrun by a pixel."""
    left, top, right, bottom = box
    width, height = size
    near = left >= -1 and top >= -1 and right <= width + 1 and bottom <= height + 1  # false for not a number too
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if not near or left >= right or top >= bottom:
        raise DataError(path, f"{field} {box} is no box inside of the image of {width} x {height}")
    return left, top, right, bottom


def read_photographs(folder: str | os.PathLike[str], *, masks: bool = False) -> tuple[Photographs, Photographs]:
    """What to learn from and what to test with, from a folder of PASCAL VOC's (train, val) or COCO's.

    COCO: annotations/instances_train*.json with the images in train*, and the same of val*; without masks.
    """
    folder = existing_folder(folder)
    if (folder / "JPEGImages").is_dir():
        return read_voc(folder, "train", masks=masks), read_voc(folder, "val", masks=masks)
    found = [sorted((folder / "annotations").glob(f"instances_{part}*.json"))[:1] for part in ("train", "val")]
    if masks or not all(found):
        coco = "" if masks else ", nor COCO's annotations/instances_train*.json and instances_val*.json"
        raise DataError(folder, f"has no JPEGImages of PASCAL VOC's{coco}")
    train, test = (read_coco(path, folder / path.stem.removeprefix("instances_")) for (path,) in found)
    if train.classes != test.classes:
        raise DataError(found[1][0], f"categories differ from those of {found[0][0].name}")
    return train, test


# ---- PASCAL VOC ------------------------------------------------------------------------------------------------------


def read_voc(
    folder: str | os.PathLike[str], split: str = "train", classes: Sequence[str] | None = None, *, masks: bool = False
) -> Photographs:
    """The photographs of a split of PASCAL VOC: JPEGImages, Annotations, ImageSets/Main below `folder`.

    classes: if not given, the lines of `folder`/classes.txt, where there is none VOC_CLASSES. masks: those of
    ImageSets/Segmentation, with SegmentationClass. Format: Everingham et al., The PASCAL Visual Object
    Classes Challenge, IJCV 2010. Raises DataError with the names of file and field.
    """
    folder = Path(folder)
    if classes is None:
        own = folder / "classes.txt"
        classes = [line.strip() for line in read_text(own).splitlines()] if own.is_file() else VOC_CLASSES
        if twice := [name for name in classes if classes.count(name) > 1]:
            raise DataError(own, f"class {twice[0]!r} is there twice")
    listing = folder / "ImageSets" / ("Segmentation" if masks else "Main") / f"{split}.txt"
    if not listing.is_file():
        raise DataError(listing, "no such file; it lists the images of the split")
    names = read_text(listing).split()
    if not names:
        raise DataError(listing, "lists no image")
    if strange := [name for name in names if Path(name).name != name]:
        raise DataError(listing, f"{strange[0]!r} is no name of an image")
    return Photographs(tuple(classes), tuple(_voc_photograph(folder, name, classes, masks) for name in names))


def _voc_photograph(folder: Path, name: str, classes: Sequence[str], masks: bool) -> Photograph:
    path = folder / "Annotations" / f"{name}.xml"
    if not os.path.isfile(path):
        raise DataError(path, "no such file, but the split lists it")
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: of an encoding it does not know
        raise DataError(path, f"not XML, or truncated ({error})") from None
    if root.tag != "annotation":
        raise DataError(path, f"its element is <{root.tag}>, not <annotation>")

    def text(element: Any, field: str) -> str:
        found = element.findtext(field)
        if found is None or not found.strip():
            raise DataError(path, f"<{element.tag}> has no {field}")
        return str(found).strip()

    def number(element: Any, field: str) -> float:
        try:
            return float(text(element, field))
        except ValueError:
            raise DataError(path, f"{field} {text(element, field)!r} is no number") from None

    image = _image_in(folder / "JPEGImages", text(root, "filename"), path, "filename")
    size, claimed = _image_size(image), (number(root, "size/width"), number(root, "size/height"))
    if claimed != size:
        raise DataError(path, f"size {claimed[0]:g} x {claimed[1]:g}, but {image.name} is {size[0]} x {size[1]}")
    boxes, labels = [], []
    for k, element in enumerate(root.iterfind("object")):
        label = text(element, "name")
        if label not in classes:
            raise DataError(path, f"name {label!r} of object {k} is none of {', '.join(classes)}")
        left, top, right, bottom = (number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
        # Pixels are counted from 1, and the last one belongs to the box.
        boxes.append(_check_box(path, f"bndbox of object {k}", (left - 1, top - 1, right, bottom), size))
        labels.append(classes.index(label))
    mask = folder / "SegmentationClass" / f"{name}.png" if masks else None
    if mask is not None and not mask.is_file():
        raise DataError(mask, "no such file, but the split lists it")
    return Photograph(image, size, tuple(boxes), tuple(labels), mask)


# ---- COCO ------------------------------------------------------------------------------------------------------------


def read_coco(annotations: str | os.PathLike[str], images: str | os.PathLike[str]) -> Photographs:
    """The photographs of a COCO file such as instances_train2017.json, whose images lie in the folder `images`.

    Classes are its categories by number; crowds and boxes without area are left out. Format: Lin et al., Microsoft
    COCO, ECCV 2014. Raises DataError with the names of file and field.
    """
    path, images = Path(annotations), Path(images)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(path, f"not JSON, or truncated ({error})") from None
    entries = _Entries(path, content)
    categories = {row["id"]: row["name"] for row in entries.rows("categories", {"id": int, "name": str})}
    numbers = {category: k for k, category in enumerate(sorted(categories))}
    found: dict[int, tuple[Path, tuple[int, int], list[Box], list[int]]] = {}
    for row in entries.rows("images", {"id": int, "file_name": str, "width": int, "height": int}):
        image = _image_in(images, row["file_name"], path, "file_name")
        size = _image_size(image)
        if size != (row["width"], row["height"]):
            claim = f"width and height {row['width']} x {row['height']}"
            raise DataError(path, f"{claim}, but {image.name} is {size[0]} x {size[1]}")
        found[row["id"]] = (image, size, [], [])
    if not found:
        raise DataError(path, "images is empty")
    for row in entries.rows("annotations", {"id": int, "image_id": int, "category_id": int, "bbox": list}):
        place = f"annotation {row['id']}"
        for field, known in (("image_id", found), ("category_id", numbers)):
            if row[field] not in known:
                raise DataError(path, f"{field} {row[field]} of {place} is not in the file")
        if len(row["bbox"]) != 4 or not all(type(v) in (int, float) and abs(v) < math.inf for v in row["bbox"]):
            raise DataError(path, f"bbox {row['bbox']} of {place} is not four numbers")
        _, size, boxes, labels = found[row["image_id"]]
        left, top, width, height = row["bbox"]
        if row.get("iscrowd") or not width or not height:
            continue
        box = _check_box(path, f"bbox of {place}", (left, top, left + width, top + height), size)
        boxes.append(box)
        labels.append(numbers[row["category_id"]])
    names = tuple(categories[category] for category in sorted(categories))
    return Photographs(names, tuple(Photograph(p, s, tuple(b), tuple(c)) for p, s, b, c in found.values()))


@dataclass(frozen=True)
class _Entries:
    """The lists of objects in a JSON file."""

    path: Path
    content: Any

    def rows(self, name: str, fields: dict[str, type]) -> list[dict[str, Any]]:
        """The list `name`, whose objects have these fields of these types, and ids of their own."""
        if not isinstance(self.content, dict) or not isinstance(rows := self.content.get(name), list):
            raise DataError(self.path, f"has no list {name!r}")
        seen = set()
        for k, row in enumerate(rows):
            for field, kind in fields.items():
                if not isinstance(row, dict) or type(row.get(field)) is not kind:
                    raise DataError(self.path, f"{name}[{k}] has no {field!r} of type {kind.__name__}")
            if row["id"] in seen:
                raise DataError(self.path, f"{name}[{k}]: id {row['id']} is there twice")
            seen.add(row["id"])
        return rows
