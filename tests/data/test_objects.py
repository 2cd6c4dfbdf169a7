"""Folders in the formats of PASCAL VOC and COCO: what is read is what was written, and no lie is believed."""

import json
import math
from xml.etree import ElementTree

import folders
import numpy as np
import pytest

from littlecore import data
from littlecore.data import DataError, read_coco, read_mask, read_photographs, read_voc
from littlecore.data.scenes import SHAPES

image_module = pytest.importorskip("PIL.Image")
SCENES = data.scenes(4, 48, seed=3)


@pytest.fixture
def voc(tmp_path):
    folders.save_voc(SCENES, tmp_path, 3)
    return tmp_path


@pytest.fixture
def coco(tmp_path):
    folders.save_coco(SCENES, tmp_path, "train")
    return tmp_path


def assert_scenes(found, count):
    scenes = found.scenes(48)
    assert found.classes == SHAPES and len(found) == len(scenes) == count
    np.testing.assert_allclose(scenes.images, SCENES.images[:count], atol=0.5 / 255 + 1e-6)
    for k in range(count):
        there = scenes.shapes[k] >= 0
        got = list(zip(scenes.shapes[k][there].tolist(), scenes.boxes[k][there].astype(int).tolist(), strict=True))
        assert got == folders.objects(SCENES, k)
    assert (scenes.colours == -1).all()
    half = found.scenes(24)
    np.testing.assert_allclose(half.boxes, scenes.boxes / 2)
    assert half.images.shape == (count, 3, 24, 24)
    return scenes


def test_voc(voc):
    scenes = assert_scenes(read_voc(voc, "train", SHAPES), 3)
    assert not scenes.masks.any()
    masked = read_voc(voc, "train", SHAPES, masks=True)
    np.testing.assert_array_equal(masked.scenes(48).masks, SCENES.masks[:3])
    np.testing.assert_array_equal(masked.scenes(16).masks, SCENES.masks[:3, 1::3, 1::3])
    assert len(read_voc(voc, "val", SHAPES)) == 1


def test_coco(coco):
    assert_scenes(read_coco(coco / "annotations" / "instances_train.json", coco / "train"), 4)


def test_folders_are_known_by_what_is_in_them(tmp_path):
    folders.save_voc(SCENES, tmp_path / "voc", 3)
    (tmp_path / "voc" / "classes.txt").write_text("".join(f"{name}\n" for name in SHAPES))
    for part in ("train", "val"):
        folders.save_coco(SCENES, tmp_path / "coco", part)
    for kind, counts in (("voc", (3, 1)), ("coco", (4, 4))):
        found = read_photographs(tmp_path / kind)
        assert tuple(map(len, found)) == counts and found[0].classes == found[1].classes == SHAPES
    (tmp_path / "voc" / "classes.txt").unlink()
    with pytest.raises(DataError, match="is none of aeroplane, bicycle"):
        read_photographs(tmp_path / "voc")
    for masks, words in (
        (False, "no JPEGImages of PASCAL VOC's, nor COCO's"),
        (True, "no JPEGImages of PASCAL VOC's$"),
    ):
        with pytest.raises(DataError, match=words):
            read_photographs(tmp_path, masks=masks)
    path = tmp_path / "coco" / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace("disc", "disk"))
    with pytest.raises(DataError, match=r"instances_val\.json: categories differ"):
        read_photographs(tmp_path / "coco")


def test_every_truncation_of_an_annotation_is_refused(voc, coco):
    for path, read in (
        (voc / "Annotations" / "scene0.xml", lambda: read_voc(voc, "train", SHAPES)),
        (
            coco / "annotations" / "instances_train.json",
            lambda: read_coco(coco / "annotations" / "instances_train.json", coco / "train"),
        ),
    ):
        content = path.read_bytes()
        for length in {*range(0, len(content), 37), len(content) - 1}:
            path.write_bytes(content[:length])
            with pytest.raises(DataError, match="truncated") as caught:
                read()
            assert caught.value.path == str(path)
        path.write_bytes(content)
        read()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("filename", None, "<annotation> has no filename"),
        ("filename", "nothing.png", r"filename 'nothing\.png': there is no such file in JPEGImages"),
        ("filename", "x" * 5000, "filename 'x*': there is no such file in JPEGImages"),
        ("filename", "../JPEGImages/scene0.png", r"filename '\.\./JPEGImages/scene0\.png' leads out of JPEGImages"),
        ("filename", "/etc/hostname", "filename '/etc/hostname' leads out of JPEGImages"),
        ("size/width", None, "<annotation> has no size/width"),
        ("size/width", "49", r"size 49 x 48, but scene0\.png is 48 x 48"),
        ("size/height", "tall", "size/height 'tall' is no number"),
        ("object/name", "dragon", "name 'dragon' of object 0 is none of disc, square"),
        ("object/name", None, "<object> has no name"),
        ("object/bndbox/xmin", "-1", "bndbox of object 0 .* is no box inside of the image of 48 x 48"),
        ("object/bndbox/xmin", "47.5", "bndbox of object 0 .* is no box"),
        ("object/bndbox/ymax", "50", "bndbox of object 0 .* is no box"),
        ("object/bndbox/ymax", "nan", "bndbox of object 0 .* is no box"),
        ("object/bndbox/ymax", None, "<object> has no bndbox/ymax"),
    ],
)
def test_lies_in_voc(voc, field, value, words):
    path = voc / "Annotations" / "scene0.xml"
    tree = ElementTree.parse(path)
    parent, _, name = field.rpartition("/")
    holder = tree.getroot().find(parent or ".")
    element = holder.find(name)
    if value is None:
        holder.remove(element)
    else:
        element.text = value
    tree.write(path)
    with pytest.raises(DataError, match=words) as caught:
        read_voc(voc, "train", SHAPES)
    assert caught.value.path == str(path)


def test_boxes_may_overrun_the_edge_by_a_pixel(voc):
    path = voc / "Annotations" / "scene3.xml"
    tree = ElementTree.parse(path)
    for side, value in (("xmin", 0), ("ymin", 0), ("xmax", 49), ("ymax", 49)):
        tree.getroot().find(f"object/bndbox/{side}").text = str(value)
    tree.write(path)
    assert read_voc(voc, "val", SHAPES).photographs[0].boxes[0] == (0, 0, 48, 48)


@pytest.mark.parametrize("head", [
    '<?xml version="1.0" encoding="nonsense"?>',
    '<?xml version="1.0" encoding="big5"?>',
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "' + "&a;" * 50 + '">'  # an entity of 50^5 "ha"
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 50}">' for a, b in ("bc", "cd", "de", "ef")) + "]><annotation><filename>&f;",
    '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><annotation><filename>&f;</filename></annotation>',
    "<a>" * 10_000,
])  # fmt: skip
def test_xml_that_is_not_to_be_read(voc, head):
    path = voc / "Annotations" / "scene0.xml"
    path.write_text(head + path.read_text())
    with pytest.raises(DataError, match=r"scene0\.xml: not XML"):
        read_voc(voc, "train", SHAPES)


def test_lists_that_are_not_to_be_read(voc):
    listing, own = voc / "ImageSets" / "Main" / "train.txt", voc / "classes.txt"
    for path, content, words in (
        (listing, b"scene0\nscene\xff\n", r"train\.txt: byte 12: not UTF-8"),
        (listing, b"../Annotations/scene0\n", r"train\.txt: '\.\./Annotations/scene0' is no name of an image"),
        (listing, b"x" * 5000, r"xx\.xml: no such file, but the split lists it"),
        (own, b"disc\n\xff", r"classes\.txt: byte 5: not UTF-8"),
        (own, b"disc\nsquare\ndisc\n", r"classes\.txt: class 'disc' is there twice"),
    ):
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read_voc(voc)
        if before is not None:
            path.write_bytes(before)


def test_missing_and_foreign_files_of_voc(voc):
    with pytest.raises(DataError, match=r"test\.txt: no such file"):
        read_voc(voc, "test", SHAPES)
    (voc / "Annotations" / "scene3.xml").write_text("<html></html>")
    with pytest.raises(DataError, match=r"scene3\.xml: its element is <html>"):
        read_voc(voc, "val", SHAPES)
    (voc / "Annotations" / "scene3.xml").unlink()
    with pytest.raises(DataError, match=r"scene3\.xml: no such file, but the split lists it"):
        read_voc(voc, "val", SHAPES)
    (voc / "ImageSets" / "Main" / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: lists no image"):
        read_voc(voc, "val", SHAPES)
    (voc / "JPEGImages" / "scene0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"scene0\.png: not a readable image"):
        read_voc(voc, "train", SHAPES)


def test_lies_in_masks(voc):
    path = voc / "SegmentationClass" / "scene3.png"
    photograph = read_voc(voc, "val", SHAPES, masks=True).photographs[0]

    def refuse(image, words):
        image.save(path)
        with pytest.raises(DataError, match=words) as caught:
            read_mask(photograph, len(SHAPES))
        assert caught.value.path == str(path)

    grey = SCENES.masks[3].astype(np.uint8)
    grey[5, 6] = 255
    image_module.fromarray(grey).save(path)
    np.testing.assert_array_equal(read_mask(photograph, 4), grey)
    grey[5, 6] = 5
    refuse(image_module.fromarray(grey), "pixel value 5 is neither one of 0 to 4 nor 255")
    refuse(image_module.fromarray(np.zeros((48, 47), np.uint8)), r"its size is \(47, 48\)")
    refuse(image_module.fromarray(np.zeros((48, 48, 3), np.uint8)), "this one is of mode RGB")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"scene3\.png: not a readable image"):
        read_mask(photograph, 4)
    path.unlink()
    with pytest.raises(DataError, match=r"scene3\.png: no such file"):
        read_voc(voc, "val", SHAPES, masks=True)


@pytest.mark.parametrize(
    ("name", "row", "field", "value", "words"),
    [
        ("images", 1, "file_name", "nothing.png", r"file_name 'nothing\.png': there is no such file"),
        ("images", 1, "file_name", "../train/scene1.png", r"file_name '\.\./train/scene1\.png' leads out of train"),
        ("images", 1, "width", 49, r"width and height 49 x 48, but scene1\.png is 48 x 48"),
        ("images", 1, "width", "48", r"images\[1\] has no 'width' of type int"),
        ("images", 1, "id", 10, r"images\[1\]: id 10 is there twice"),
        ("categories", 0, "name", 3, r"categories\[0\] has no 'name' of type str"),
        ("annotations", 2, "image_id", 99, "image_id 99 of annotation 2 is not in the file"),
        ("annotations", 2, "category_id", 8, "category_id 8 of annotation 2 is not in the file"),
        ("annotations", 2, "bbox", [1, 2, 3], r"bbox \[1, 2, 3\] of annotation 2 is not four numbers"),
        ("annotations", 2, "bbox", [1, 2, 10**400, 3], "bbox of annotation 2 .* is no box"),
        ("annotations", 2, "bbox", [1, 2, 3, math.nan], "bbox .* of annotation 2 is not four numbers"),
        ("annotations", 2, "bbox", [1, 2, 3, -4], "bbox of annotation 2 .* is no box"),
        ("annotations", 2, "bbox", [40, 2, 10, 4], "bbox of annotation 2 .* is no box"),
        ("annotations", 2, "id", 1, r"annotations\[2\]: id 1 is there twice"),
    ],
)
def test_lies_in_coco(coco, name, row, field, value, words):
    path = coco / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content[name][row][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=words) as caught:
        read_coco(path, coco / "train")
    assert caught.value.path == str(path)


def test_json_too_deep_to_read(tmp_path):
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"x\.json: not JSON"):
        read_coco(tmp_path / "x.json", tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"categories": {}}', '{"categories": [], "images": []}'])
def test_coco_files_without_lists(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=r"x\.json: (has no list|images is empty)"):
        read_coco(tmp_path / "x.json", tmp_path)
