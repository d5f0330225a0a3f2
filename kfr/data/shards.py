"""Tar archives of images as WebDataset writes them, read member by member.

The webdataset package streams: it shuffles in a buffer while it reads, so the order
depends on the workers. kfr indexes the members of plain archives once and then reads
any of them, so that the order stays a function of the seed and a run can be resumed.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from kfr.data import ImageFiles, split_by_class
from kfr.data.constants import Normalize, constants
from kfr.data.images import SUFFIXES, Member
from kfr.data.listing import OnBad, Share, Size, Split, indexed, sound_part
from kfr.errors import DataError, MissingError, but
from kfr.files import read_text

_BLOCK = 512  # bytes; what a tar archive is made of
_LONGEST = 1_000_000  # bytes of a .json or .cls
_PARTS = {"train": ("train",), "test": ("val", "test")}


def shards(
    root: Path | None,
    split: Split,
    *,
    label: str = "label",
    held_out: Share = 0.2,
    seed: int = 0,
    size: Size = 224,
    flip: bool = True,
    normalize: Normalize = "own",
    on_bad_image: OnBad = "error",
) -> ImageFiles:
    """Read `KEY.jpg` with `KEY.cls` or `KEY.json` beside it, in `.tar` archives.

    The archives lie in `train/` and `val/` or `test/`, or have these words in their
    names; else `held_out` of every class, by `seed`, is tested. A class is a number or
    a name, in a `.json` under the key `label`; `classes.txt` in `root` has the names of
    the numbers, one a line.

    Raises:
        MissingError: there is no archive.
        DataError: an archive is damaged or compressed, has a link or a name that leads
            out of it, or an image has no class.
    """
    if root is None or not root.is_dir():
        raise MissingError(
            f"shards needs a folder with .tar archives{but(root)}; give it with "
            "--data-root"
        )
    sides = {part: _archives(root, words) for part, words in _PARTS.items()}
    parted = all(sides.values())
    everywhere = sorted({*root.glob("*.tar"), *root.glob("*/*.tar")})
    if not everywhere:
        raise MissingError(f"{root} has no .tar archive; compressed ones are not read")
    chosen = sorted({*sides["train"], *sides["test"]}) if parted else everywhere
    items = [item for path in chosen for item in _items(path, label)]
    if not items:
        raise DataError(f"{root}: the archives have no images")
    labels = _labels(root, items)
    index = indexed(labels)
    data = ImageFiles(
        labels,
        tuple(item.image for item in items),
        torch.tensor([_number(item, index) for item in items]),
        size,
        flip,
        normalization=constants("shards", normalize),
    )
    at = (
        _within(items, sides[split])
        if parted
        else split_by_class(data, held_out, seed)[split == "test"]
    )
    return sound_part(data.take(at), on_bad_image, root)


class _Item(NamedTuple):
    image: Member
    label: str | int


def _archives(root: Path, words: tuple[str, ...]) -> list[Path]:
    """Return the archives of a part; `val` comes before `test`."""
    for word in words:
        found = [*(root / word).glob("*.tar"), *root.glob(f"*{word}*.tar")]
        if found:
            return sorted(found)
    return []


def _within(items: list[_Item], archives: list[Path]) -> torch.Tensor:
    wanted = set(archives)
    chosen = [i for i, item in enumerate(items) if item.image.archive in wanted]
    return torch.tensor(chosen, dtype=torch.long)


def _items(archive: Path, key: str) -> list[_Item]:
    groups: dict[str, dict[str, Member]] = {}
    for member in _members(archive):
        path = PurePosixPath(member.name)
        stem, _, suffix = path.name.partition(".")  # as WebDataset: from the first dot
        group = groups.setdefault(str(path.parent / stem), {})
        if suffix.lower() in group:
            raise DataError(f"{member} is there twice")
        group[suffix.lower()] = member
    return [item for name, group in groups.items() for item in _item(name, group, key)]


def _item(name: str, group: dict[str, Member], key: str) -> list[_Item]:
    images = [member for suffix, member in group.items() if f".{suffix}" in SUFFIXES]
    if not images:
        return []
    if len(images) > 1:
        raise DataError(f"{images[1]}: {name} has another image")
    return [_Item(images[0], _label(images[0], group, key))]


def _label(image: Member, group: dict[str, Member], key: str) -> str | int:
    if "cls" in group:
        text = _text(group["cls"]).strip()
        return int(text) if text.isdecimal() and text.isascii() else text
    if "json" not in group:
        raise DataError(f"{image} has no class: neither .cls nor .json is beside it")
    try:
        content = json.loads(_text(group["json"]))
        found = content[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(
            f"{group['json']} is no JSON object with {key!r}; name its key with the "
            "option label"
        ) from None
    if not isinstance(found, (str, int)) or isinstance(found, bool):
        raise DataError(f"{group['json']}: {found!r} is neither a name nor a number")
    return found


def _text(member: Member) -> str:
    if member.length > _LONGEST:
        raise DataError(f"{member} has {member.length} bytes; that is no class")
    try:
        return member.content().decode()
    except UnicodeDecodeError:
        raise DataError(f"{member} is not UTF-8") from None


def _members(path: Path) -> Iterator[Member]:
    """Yield the files of an archive: nothing in it is ever unpacked."""
    end = 0
    length = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                last = info.offset_data + info.size
                end = -(-last // _BLOCK) * _BLOCK
                if info.isdir():
                    continue
                _refuse(path, info)
                if last > length:
                    raise DataError(f"{path} is cut off in {info.name}")
                yield Member(path, info.name, info.offset_data, info.size)
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
        raise DataError(
            f"cannot read the archive {path}: {error}; a compressed one has to be "
            "decompressed first"
        ) from None
    _refuse_rest(path, end)


def _refuse(path: Path, info: tarfile.TarInfo) -> None:
    name = info.name.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{path}: refused: the name {info.name!r} leads out of it")
    if not info.isreg() or info.issparse():
        raise DataError(f"{path}: refused: {info.name!r} is a link or no plain file")


def _refuse_rest(path: Path, end: int) -> None:
    """A damaged header ends an archive without a word: nothing may follow the end."""
    with path.open("rb") as file:
        file.seek(end)
        if file.read(_BLOCK).strip(b"\0"):
            raise DataError(f"{path} is damaged at byte {end}")


def _labels(root: Path, items: list[_Item]) -> tuple[str, ...]:
    names = root / "classes.txt"
    if names.is_file():
        return tuple(x.strip() for x in read_text(names).split("\n") if x.strip())
    found = {item.label for item in items}
    numbers = [label for label in found if isinstance(label, int)]
    if len(numbers) == len(found):
        return tuple(str(k) for k in sorted(numbers))
    return tuple(sorted(str(label) for label in found))


def _number(item: _Item, index: dict[str, int]) -> int:
    """Return the class: of a name, or of a number among the names."""
    found = index.get(str(item.label), item.label)
    if not isinstance(found, int) or not 0 <= found < len(index):
        raise DataError(
            f"{item.image}: there is no class {item.label!r} among the {len(index)}"
        )
    return found
