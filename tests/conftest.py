import logging
import os
import random
import socket
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from kfr.hierarchy import Hierarchy

settings.register_profile(
    "kfr",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("kfr")


@pytest.fixture
def pets() -> Hierarchy:
    """animal -> mammal -> cat, dog; animal -> bird -> parrot"""
    return Hierarchy.from_pairs(
        [
            ("animal", "mammal"),
            ("mammal", "cat"),
            ("mammal", "dog"),
            ("animal", "bird"),
            ("bird", "parrot"),
        ]
    )


@pytest.fixture(scope="session")
def random_pairs():
    """Draw (parent, child) pairs without a cycle: `random_pairs(seed, size)`."""

    def draw(seed: int, size: int = 30, most: int = 3) -> list[tuple[str, str]]:
        chance = random.Random(seed)
        names = [f"n{i}" for i in range(size)]
        chance.shuffle(names)
        pairs = [
            (names[parent], names[child])
            for child in range(1, size)
            for parent in chance.sample(
                range(child), min(child, chance.randint(0, most))
            )
        ]
        chance.shuffle(pairs)
        return pairs

    return draw


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the real data sets."""
    if not os.environ.get("KFR_DATA"):
        pytest.skip("needs the real data: set KFR_DATA to the folder that holds it")
    return Path(os.environ["KFR_DATA"])


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def kfr(monkeypatch, capsys):
    """Call the installed command in this process: `kfr("cache", "list")`."""
    (script,) = entry_points(group="console_scripts", name="kfr")
    main = script.load()
    log = logging.getLogger("kfr")
    before = log.handlers, log.propagate

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["kfr", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return Done(code, *capsys.readouterr())

    yield run
    log.handlers, log.propagate = before


@pytest.fixture
def saved(tmp_path):
    """Write a picture and return its path: `saved(image, name, **options)`."""

    def save(image, name="image.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """Give every test a cache of its own, and forbid downloads."""
    monkeypatch.setenv("KFR_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("KFR_OFFLINE", "1")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Let no test of this process speak to another machine."""
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"a test tried to connect to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def served_home(tmp_path_factory) -> Path:
    """A folder with a small run and an index, as `served.make_home` makes it."""
    from served import make_home

    return make_home(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def there(served_home):
    """Speak to a server of that index."""
    from served import served

    with served(served_home / "x.index") as client:
        yield client
