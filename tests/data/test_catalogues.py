"""gettext's catalogues: what gettext reads, and what is refused."""

import gettext
import struct

import folders
import pytest

from littlecore.data import DataError, read_catalogue, read_catalogues

PAIRS = {"": "Content-Type: text/plain; charset=utf-8\n", "open": "öffnen", "verb\4close": "schließen", "none": "",
         "one file\0%d files": "eine Datei\0%d Dateien"}  # fmt: skip


@pytest.mark.parametrize("order", "<>")
def test_a_catalogue(order, tmp_path):
    folders.save_catalogue(PAIRS, tmp_path / "de" / "LC_MESSAGES" / "a.mo", order)
    file = tmp_path / "de" / "LC_MESSAGES" / "a.mo"
    with file.open("rb") as stream:  # as Python's own reader has it
        assert gettext.GNUTranslations(stream).gettext("open") == "öffnen"
    wanted = [("none", ""), ("one file", "eine Datei"), ("open", "öffnen"), ("close", "schließen")]
    assert read_catalogue(file) == wanted[1:]
    folders.save_catalogue({"open": "auf", "shut": "zu"}, tmp_path / "x" / "de" / "LC_MESSAGES" / "b.mo", order)
    assert read_catalogues(tmp_path, "de") == [*wanted[1:], ("shut", "zu")]
    with pytest.raises(DataError, match="no fr/LC_MESSAGES"):
        read_catalogues(tmp_path, "fr")


def test_broken_catalogues(tmp_path):
    path = tmp_path / "a.mo"
    folders.save_catalogue(PAIRS, path)
    content = path.read_bytes()
    first = struct.unpack_from("<I", content, 12)[0]
    far = content[: first + 4] + b"\xff\xff\xff\x7f" + content[first + 8 :]
    for broken, words in (
        (b"", "byte 0: no catalogue"), (b"PO" + content, "no catalogue"), (content[:30], "ends within its table of 5"),
        (far, "lies outside"), (content.replace(b"utf-8", b"ascii"), "not ascii"),
        (content.replace(b"utf-8", b"utf-x"), "not utf-x"),
    ):  # fmt: skip
        path.write_bytes(broken)
        with pytest.raises(DataError, match=words):
            read_catalogue(path)
