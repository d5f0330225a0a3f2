"""CIFAR in both layouts, whole, damaged, hostile and not there at all."""

import io
import os
import pickle
import socket
import struct
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from kfr.data import load
from kfr.data.cifar import CIFAR10, CIFAR100, cifar10, cifar100, find, present
from kfr.errors import DataError, MissingError
from kfr.mapping import LabelMapping

READER = {"CIFAR-10": cifar10, "CIFAR-100": cifar100}
CLASS = {"CIFAR10": CIFAR10, "CIFAR100": CIFAR100}  # torchvision's name of each
LAYOUTS = pytest.mark.parametrize("layout", CLASS.values(), ids=CLASS)
EACH = 3  # images a file


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch, tmp_path):
    """No set but the test's own."""
    monkeypatch.setenv("KFR_OFFLINE", "1")
    monkeypatch.setenv("KFR_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr("kfr.data.cifar.cache_folder", lambda: tmp_path / "cache")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    source = os.environ.get("KFR_DATA", "")
    if not (Path(source) / "cifar100").is_dir():
        pytest.skip("KFR_DATA is not set, or has no cifar100")
    out = tmp_path_factory.mktemp("real")
    made = [sys.executable, f"{source}/prepare.py", out, "--train", "4", "--test", "2"]
    subprocess.run(made, check=True, capture_output=True)
    return out


def labels_of(layout):
    return [f"class {i}" for i in range(10 if layout is CIFAR10 else 100)]


def content_of(layout, split):
    """Return the classes and pixels in each file of a split."""
    rng = np.random.default_rng(len(layout.title) + len(split))
    classes = len(labels_of(layout))
    for _ in layout.binary_files[split]:
        pixels = rng.integers(0, 256, (EACH, 3072), dtype=np.uint8)
        yield rng.integers(0, classes, EACH).tolist(), pixels


def images_of(layout, split):
    pixels = np.concatenate([pixels for _, pixels in content_of(layout, split)])
    return pixels.reshape(-1, 3, 32, 32)


def write_binary(layout, root):
    folder = root / layout.binary
    folder.mkdir(parents=True)
    coarse = bytes(layout.label_bytes - 1)
    for split, names in layout.binary_files.items():
        for name, part in zip(names, content_of(layout, split), strict=True):
            rows = zip(*part, strict=True)
            records = [coarse + bytes([label]) + row.tobytes() for label, row in rows]
            (folder / name).write_bytes(b"".join(records))
    (folder / layout.names[0]).write_text("\n".join(labels_of(layout)) + "\n\n")
    return folder


def dump_as_now(content):
    return pickle.dumps(content, 2)


def dump_as_python_2(content):
    """Pickle as the official files were: by Python 2, from numpy.core."""
    out = io.BytesIO()
    _Python2(out, 2).dump(content)
    return out.getvalue().replace(b"numpy._core.", b"numpy.core.")


class _Python2(pickle._Pickler):
    def _string(self, value):
        raw = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)

    dispatch = {**pickle._Pickler.dispatch, str: _string, bytes: _string}  # noqa: RUF012


def write_python(layout, root, dump=dump_as_now):
    folder = root / layout.python
    folder.mkdir(parents=True)
    for split, names in layout.python_files.items():
        for name, part in zip(names, content_of(layout, split), strict=True):
            content = {layout.label_key: part[0], "data": part[1], "batch_label": name}
            (folder / name).write_bytes(dump(content))
    meta = {layout.names[2]: labels_of(layout), "coarse_label_names": ["a", "b"]}
    (folder / layout.names[1]).write_bytes(dump(meta))
    return folder


@pytest.fixture
def python(tmp_path):
    return write_python(CIFAR100, tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
@LAYOUTS
def test_both_layouts_hold_the_same_images(layout, split, tmp_path):
    read = READER[layout.title]
    write_binary(layout, tmp_path / "binary")
    write_python(layout, tmp_path / "new", dump_as_now)
    write_python(layout, tmp_path / "old", dump_as_python_2)
    targets = [label for labels, _ in content_of(layout, split) for label in labels]
    for name in ("binary", "new", "old"):
        data = read(tmp_path / name, split)
        assert np.array_equal(data.images, images_of(layout, split))
        assert data.targets.tolist() == targets
        assert data.targets.dtype == torch.int64
        assert data.labels == tuple(labels_of(layout))
        data.images.zero_()  # may be written to


def test_images_stored_by_column_are_read_right(python):
    [(labels, pixels)] = content_of(CIFAR100, "test")
    content = {"data": np.asfortranarray(pixels), "fine_labels": labels}
    (python / "test").write_bytes(dump_as_now(content))
    images = cifar100(python, "test").images
    assert np.array_equal(images, images_of(CIFAR100, "test"))


def test_a_set_is_looked_for_below_kfr_data_and_then_in_the_cache(tmp_path):
    cached = write_python(CIFAR10, tmp_path / "cache" / "data")
    assert present(CIFAR10) == cached
    mine = write_binary(CIFAR10, tmp_path / "nothing")
    assert present(CIFAR10) == find(CIFAR10, mine) == find(CIFAR10, mine.parent) == mine
    assert present(CIFAR100) is None


def test_real_images_are_read_with_the_labels_of_the_mapping(real):
    train, test = (load("cifar100", real, split) for split in ("train", "test"))
    assert train.labels == LabelMapping.bundled("cifar100").labels
    assert torch.bincount(train.targets).tolist() == [4] * 100
    assert torch.bincount(test.targets).tolist() == [2] * 100
    assert train.images.shape == (400, 3, 32, 32)
    images = train.images.float()
    for axis in (2, 3):  # neighbouring pixels are alike, if nothing is mixed up
        steps = images.diff(dim=axis).abs().mean()
        assert steps < 0.5 * (images - images.roll(13, axis)).abs().mean()


class Call:  # asks whoever unpickles it for one
    def __init__(self, function, *given):
        self.call = (function, given)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("name", ["meta", "test"])
def test_a_pickle_that_calls_is_refused_and_not_obeyed(name, python, tmp_path):
    marker = tmp_path / "executed"
    hostile = pickle.dumps({"data": Call(os.system, f"touch {marker}")}, 2)
    (python / name).write_bytes(hostile)
    with pytest.raises(DataError, match=rf"{python / name}: refused: .*\.system"):
        cifar100(python, "test")
    assert not marker.exists()
    pickle.loads(hostile)
    assert marker.exists()  # so it would have worked


@pytest.mark.parametrize(
    "raw",
    [
        b"cbuiltins\neval\n(S'1/0'\ntR.",
        b"(S'id'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        b"cnumpy.core.multiarray\nfromfile\n(S'/etc/passwd'\ntR.",
        b"c_codecs\ndecode\n(S'x'\nS'zlib_codec'\ntR.",
    ],
)
def test_no_other_name_is_looked_up(raw, python):
    (python / "test").write_bytes(raw)
    with pytest.raises(DataError, match="refused: the file asks for"):
        cifar100(python, "test")


def test_bytes_of_a_file_never_become_pointers(python):
    """numpy.ndarray(shape, object, buffer) would take any address for an object."""
    array = Call(np.ndarray, (1, 3072), np.dtype(object), b"A" * 8 * 3072)
    (python / "test").write_bytes(dump_as_now({"data": array, "fine_labels": [1]}))
    with pytest.raises(DataError, match=f"{python / 'test'}"):
        cifar100(python, "test")


@pytest.mark.parametrize("kind", [np.float32, np.int8, object, "S1"])
def test_arrays_of_anything_but_bytes_are_refused(kind, python):
    content = {"data": np.zeros((1, 3072), kind), "fine_labels": [1]}
    (python / "test").write_bytes(dump_as_now(content))
    with pytest.raises(DataError, match="holds an array of '.*', not of bytes"):
        cifar100(python, "test")


def two_images(labels, width=3072):
    return {"data": np.zeros((2, width), np.uint8), "fine_labels": labels}


LABELS = [[1], "12", None, [1, 300], [1, -1], [1, 1.5], [1, [2]], [1, 100]]
ODD = [{}, None, [1, 2], two_images([1, 2], 9), *map(two_images, LABELS)]


@pytest.mark.parametrize("content", ODD)
def test_a_dictionary_of_other_things_is_an_error(content, python):
    (python / "test").write_bytes(dump_as_now(content))
    with pytest.raises(DataError, match=str(python)):
        cifar100(python, "test")


@pytest.mark.parametrize("names", [None, [], 5, "ab", ["", " "]])
def test_a_meta_file_without_names_is_an_error(names, python):
    (python / "meta").write_bytes(dump_as_now({"fine_label_names": names}))
    with pytest.raises(DataError, match=f"{python / 'meta'} names no classes"):
        cifar100(python, "test")


@pytest.mark.parametrize("write", [write_binary, write_python])
@LAYOUTS
def test_files_cut_foreign_or_missing_are_named(layout, write, tmp_path):
    folder = write(layout, tmp_path)
    binary = write is write_binary
    files = layout.binary_files if binary else layout.python_files
    path = folder / files["train"][-1]
    whole = path.read_bytes()
    cuts = [n for n in range(1, len(whole), 457) if n % (3072 + layout.label_bytes)]
    for content in [b"", b"Hello, world.", whole[:-1], *(whole[:n] for n in cuts)]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=str(path)):
            READER[layout.title](tmp_path, "train")
    for missing in (path, folder / layout.names[not binary]):
        missing.unlink()
        with pytest.raises(MissingError, match=f"{missing} .*complete {folder}"):
            READER[layout.title](tmp_path, "train")
        missing.mkdir()
        with pytest.raises(DataError, match=f"cannot read {missing}"):
            READER[layout.title](tmp_path, "train")
        missing.rmdir()
        missing.write_bytes(whole)


@LAYOUTS
def test_an_empty_root_says_what_was_expected_there(layout, tmp_path, monkeypatch):
    monkeypatch.delenv("KFR_OFFLINE")  # and yet nothing is fetched
    with pytest.raises(MissingError) as error:
        READER[layout.title](tmp_path, "train")
    for word in (layout.title, str(tmp_path), layout.binary, layout.python):
        assert word in str(error.value)


@LAYOUTS
def test_offline_the_network_is_not_touched(layout, tmp_path, monkeypatch):
    touched = []
    monkeypatch.setattr(socket, "socket", lambda *given, **_: touched.append(given))
    monkeypatch.setattr(socket, "getaddrinfo", socket.socket)
    with pytest.raises(MissingError) as error:
        READER[layout.title](None, "train")
    for word in ("KFR_OFFLINE", "--data-root", "KFR_DATA", str(tmp_path / "cache")):
        assert word in str(error.value)
    assert not touched


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("corrupted")])
@pytest.mark.parametrize("name", CLASS)
def test_a_failed_download_says_why_and_the_way_out(name, error, monkeypatch, caplog):
    def fail(root, download):
        raise error

    monkeypatch.delenv("KFR_OFFLINE")
    monkeypatch.setattr(f"torchvision.datasets.{name}", fail)
    with pytest.raises(MissingError, match=f"downloading failed: .*{error}.*--data-"):
        READER[CLASS[name].title](None, "train")
    assert f"downloading {CLASS[name].megabytes} MB" in caplog.text


@pytest.mark.parametrize("name", CLASS)
def test_what_was_downloaded_is_read_by_our_own_reader(name, monkeypatch):
    def fetch(root, download):
        write_python(CLASS[name], Path(root), dump_as_python_2)

    monkeypatch.delenv("KFR_OFFLINE")
    monkeypatch.setattr(f"torchvision.datasets.{name}", fetch)
    images = READER[CLASS[name].title](None, "test").images
    assert np.array_equal(images, images_of(CLASS[name], "test"))
