"""Folders in the formats of PASCAL VOC and COCO (scenes), of CIFAR-10 and of gettext."""

import json
import struct

import numpy as np

from littlecore.data.scenes import SHAPES


def save_images(scenes, folder):
    from PIL import Image

    folder.mkdir(parents=True)
    for k, image in enumerate(scenes.images):
        pixels = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"scene{k}.png")


def objects(scenes, k):
    """Class and box, right and bottom exclusive, of scene k's objects."""
    rows = zip(scenes.shapes[k], scenes.boxes[k], strict=True)
    return [(int(label), [int(v) for v in box]) for label, box in rows if label >= 0]


def save_voc(scenes, folder, train):
    """The first `train` scenes to learn from, the others to test with."""
    from PIL import Image

    save_images(scenes, folder / "JPEGImages")
    for part in ("Annotations", "ImageSets/Main", "ImageSets/Segmentation", "SegmentationClass"):
        (folder / part).mkdir(parents=True)
    side = scenes.images.shape[-1]
    for k, mask in enumerate(scenes.masks):
        boxes = "".join(
            f"<object><name>{SHAPES[label]}</name><difficult>0</difficult><bndbox><xmin>{left + 1}</xmin>"
            f"<ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            for label, (left, top, right, bottom) in objects(scenes, k)
        )
        size = f"<size><width>{side}</width><height>{side}</height><depth>3</depth></size>"
        text = f"<annotation><filename>scene{k}.png</filename>{size}{boxes}</annotation>"
        (folder / "Annotations" / f"scene{k}.xml").write_text(text)
        indices = Image.fromarray(mask.astype(np.uint8))
        indices.putpalette(list(range(256)) * 3)
        indices.save(folder / "SegmentationClass" / f"scene{k}.png")
    names = [f"scene{k}\n" for k in range(len(scenes))]
    for kind in ("Main", "Segmentation"):
        (folder / "ImageSets" / kind / "train.txt").write_text("".join(names[:train]))
        (folder / "ImageSets" / kind / "val.txt").write_text("".join(names[train:]))


def save_coco(scenes, folder, part):
    """Categories have numbers with gaps, as COCO's own; there is a crowd and a box without area, both to pass over."""
    save_images(scenes, folder / part)
    side = scenes.images.shape[-1]
    rows = [{"id": 10 + k, "file_name": f"scene{k}.png", "width": side, "height": side} for k in range(len(scenes))]
    boxes = [
        {"image_id": 10 + k, "category_id": 7 * (label + 1), "bbox": [x, y, right - x, bottom - y], "iscrowd": 0}
        for k in range(len(scenes))
        for label, (x, y, right, bottom) in objects(scenes, k)
    ]
    crowd = {"image_id": 10, "category_id": 7, "bbox": [0, 0, side, side], "iscrowd": 1}
    flat = {"image_id": 10, "category_id": 7, "bbox": [3, 4, 0, 5], "iscrowd": 0}
    categories = [{"id": 7 * (k + 1), "name": name} for k, name in reversed(list(enumerate(SHAPES)))]
    annotations = [{"id": k, **box} for k, box in enumerate([crowd, *boxes, flat])]
    content = {"images": rows, "annotations": annotations, "categories": categories}
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


def save_cifar(folder, count):
    """`count` images to learn from and 200 to test with; how bright a channel is, and which, tells the class."""
    random = np.random.default_rng(0)
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        labels = np.arange(200 if name.startswith("test") else count // 5) % 10
        pixels = random.integers(0, 60, (len(labels), 3, 32, 32)).astype(np.uint8)
        for label, image in zip(labels, pixels, strict=True):
            image[label % 3] += np.uint8(40 * (1 + label // 3))
        records = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(len(labels), -1)], 1)
        (folder / name).write_bytes(records.tobytes())


def save_catalogue(pairs, path, order="<"):
    """A .mo of sentences and translations, in the order of their bytes as gettext wants them."""
    rows = sorted((a.encode(), b.encode()) for a, b in pairs.items())
    start, tables, texts = 28 + 16 * len(rows), [], b""
    for column in (0, 1):
        for row in rows:
            tables += [len(row[column]), start + len(texts)]
            texts += row[column] + b"\0"
    head = [0x950412DE, 0, len(rows), 28, 28 + 8 * len(rows), 0, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f"{order}{7 + len(tables)}I", *head, *tables) + texts)
