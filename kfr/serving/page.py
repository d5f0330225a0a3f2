"""The files of the page, read once."""

from importlib.resources import files

from kfr.serving import Reply

_TEXT = "; charset=utf-8"
_KINDS = {
    "html": f"text/html{_TEXT}",
    "css": f"text/css{_TEXT}",
    "js": f"text/javascript{_TEXT}",
    "svg": "image/svg+xml",
}


def assets() -> dict[str, Reply]:
    """Return every file by its address; the page itself is `/`."""
    found = {}
    for file in (files("kfr.serving") / "assets").iterdir():
        address = "/" if file.name == "page.html" else f"/{file.name}"
        kind = _KINDS[file.name.rpartition(".")[2]]
        found[address] = Reply(kind, file.read_bytes())
    return found
