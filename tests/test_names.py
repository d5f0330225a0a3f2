import pytest

from kfr import LabelMapping
from kfr.errors import DataError, MissingError
from kfr.names import class_names


def test_a_folder_has_one_folder_a_class(tmp_path):
    for name in ("dog", "cat", ".hidden"):
        (tmp_path / "pets" / name).mkdir(parents=True)
    (tmp_path / "pets" / "notes.txt").touch()
    assert class_names(str(tmp_path / "pets")) == ("pets", ("cat", "dog"))


def test_a_folder_may_be_divided_into_parts(tmp_path):
    for name in ("train/dog", "train/cat", "val/dog"):
        (tmp_path / name).mkdir(parents=True)
    assert class_names(str(tmp_path)).labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.txt", "dog\n# a comment\n\n maple tree \r\n"),
        ("a.names", "\ufeffdog\nmaple tree"),
        ("a.csv", 'dog,1\n"maple tree",2\n'),
        ("a.csv", "index,label\n0,dog\n1,maple tree\n"),
        ("a.tsv", "Name\twnid\ndog\tn1\n\nmaple tree\tn2\n"),
    ],
)
def test_a_file_has_them_in_a_column_or_one_a_line(tmp_path, file, text):
    path = tmp_path / file
    path.write_text(text, encoding="utf-8", newline="")
    assert class_names(str(path)) == ("a", ("dog", "maple tree"))


def test_a_known_data_set_needs_no_images():
    labels = LabelMapping.bundled("cifar100").labels
    assert class_names("cifar100") == ("cifar100", labels)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.txt", "dog\ncat\ndog\n", r"more than once:\n  'dog'"),
        ("a.txt", "\n# nothing\n", "no class name"),
        ("a.csv", "", "no class name"),
        ("a.csv", "index,label\n0,dog\n1\n", "row 2 has no class name"),
        ("a.csv", 'dog\n"cat\n', r"a.csv:2: "),
        ("a.txt", "dog\0", "NUL"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, file, text, message):
    path = tmp_path / file
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as raised:
        class_names(str(path))
    assert file in str(raised.value)


def test_what_is_not_there_is_named():
    with pytest.raises(MissingError, match=r"'cifar99' \(did you mean 'cifar"):
        class_names("cifar99")
