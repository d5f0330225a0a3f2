"""The statements of an RDF file, through pyoxigraph or rdflib."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from kfr.errors import HierarchyError, KfrError, UsageError
from kfr.export_rdf import BASE
from kfr.extras import not_installed
from kfr.files import read_text

from . import reading
from .rdf_safety import checked_json, refuse_doctype

Parser = Literal["auto", "rdflib", "oxigraph"]

BY_SUFFIX = {
    ".hext": "hext",
    ".jsonld": "json-ld",
    ".n3": "n3",
    ".nq": "nquads",
    ".nt": "nt",
    ".owl": "xml",
    ".rdf": "xml",
    ".trig": "trig",
    ".trix": "trix",
    ".ttl": "turtle",
    ".xml": "xml",
}
STREAMED = {"nt": "nt", "nquads": "nq", "trig": "trig", "turtle": "ttl"}
_XML = {"xml", "trix"}
_WITHOUT_PREFIXES = {"hext", "nquads", "nt"}


# Subject, predicate, object, and the language of a text: "" for none, None for a
# resource. Blank nodes are left out. A plain tuple, since there are millions.
Statement = tuple[str, str, str, str | None]
Statements = Iterator[Statement]
Wanted = Callable[[str], bool]
Prefixes = dict[str, str]


def statements(
    path: Path, format: str, parser: Parser, wanted: Wanted, prefixes: Prefixes
) -> Statements:
    """Yield the statements with a predicate that is wanted, and note the prefixes.

    Raises:
        HierarchyError: the file is dangerous or broken, with `path:line` if known.
        MissingError: pyoxigraph is asked for and not there.
        UsageError: pyoxigraph is asked for a form that it does not stream.
    """
    form = format if format != "auto" else form_of(path)
    try:
        if _streams(form, parser):
            yield from _oxigraph(path, form, wanted, prefixes)
        else:
            yield from _rdflib(path, form, wanted, prefixes)
    except KfrError:
        raise
    except Exception as error:  # parsers raise whatever they like
        raise _explained(error, path, form) from None


def form_of(path: Path) -> str:
    """Return the form that the suffix says; an `.owl` may be Turtle as well."""
    form = BY_SUFFIX.get(path.suffix.lower(), "turtle")
    if path.suffix.lower() == ".owl":
        with path.open("rb") as file:
            start = file.read(200).replace(b"\0", b"")  # UTF-16 has them
        start = start.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
        marks = (b"<?", b"<!", b"<rdf")
        return "xml" if start.startswith(marks) else "turtle"
    return form


def _streams(form: str, parser: Parser) -> bool:
    there = find_spec("pyoxigraph") is not None
    if parser == "oxigraph" and not there:
        raise not_installed("pyoxigraph", "rdf-fast")
    if parser == "oxigraph" and form not in STREAMED:
        raise UsageError(
            f"parser=oxigraph reads {', '.join(STREAMED)}, not {form}; leave it out"
        )
    return there and form in STREAMED and parser != "rdflib"


def _oxigraph(path: Path, form: str, wanted: Wanted, prefixes: Prefixes) -> Statements:
    from pyoxigraph import Literal as Text
    from pyoxigraph import NamedNode, RdfFormat, parse

    kind = RdfFormat.from_extension(STREAMED[form])
    with path.open("rb") as file:
        _skip_mark(file, path)
        # lenient: rdflib takes IRIs with odd characters, too
        found = parse(file, kind, base_iri=BASE, lenient=True)
        for subject, predicate, thing, _ in found:
            if not (wanted(predicate.value) and isinstance(subject, NamedNode)):
                continue
            if isinstance(thing, NamedNode):
                yield subject.value, predicate.value, thing.value, None
            elif isinstance(thing, Text):
                language = thing.language or ""
                yield subject.value, predicate.value, thing.value, language
        prefixes.update(found.prefixes)


def _skip_mark(file: BinaryIO, path: Path) -> None:
    start = file.read(3)
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise HierarchyError(f"{path}:1: byte 0: UTF-16; save the file as UTF-8")
    if start != b"\xef\xbb\xbf":
        file.seek(0)


def _rdflib(path: Path, form: str, wanted: Wanted, prefixes: Prefixes) -> Statements:
    import rdflib

    data = _safe(reading.data(path), form, path)
    with _texts_as_they_are(), warnings.catch_warnings():
        # rdflib's parsers use what rdflib itself calls deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        found = rdflib.Dataset(default_union=True)
        only_its_own = rdflib.namespace.NamespaceManager(found, "none")
        found.namespace_manager = only_its_own
        found.default_context.namespace_manager = only_its_own
        # a stream, since what is given as data has to be UTF-8
        found.parse(source=BytesIO(data), format=form, publicID=BASE)
        quads = list(found.quads((None, None, None, None)))
    for subject, predicate, thing, _ in quads:
        if not (wanted(str(predicate)) and isinstance(subject, rdflib.URIRef)):
            continue
        if isinstance(thing, rdflib.URIRef):
            yield str(subject), str(predicate), str(thing), None
        elif isinstance(thing, rdflib.Literal):
            language = thing.language or ""
            yield str(subject), str(predicate), str(thing), language
    if form not in _WITHOUT_PREFIXES:
        prefixes.update({prefix: str(iri) for prefix, iri in found.namespaces()})


def _safe(data: bytes, form: str, path: Path) -> bytes:
    """Return what a parser may see of a file."""
    if form in _XML:
        refuse_doctype(data, path)
        return data
    if form == "json-ld":  # anew: of a key that is there twice, only one was checked
        return json.dumps(checked_json(data, path)).encode()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise HierarchyError(f"{path}:1: byte 0: UTF-16; save the file as UTF-8")
    return data.removeprefix(b"\xef\xbb\xbf")


@contextmanager
def _texts_as_they_are() -> Iterator[None]:
    """Keep rdflib from turning literals into values.

    It would parse the XML of an XMLLiteral, entities and all, and write 1E999999999
    out in digits.
    """
    from rdflib import term

    values, known = term._toPythonMapping, dict(term._toPythonMapping)  # noqa: SLF001
    disabled, term.logger.disabled = term.logger.disabled, True
    values.clear()
    try:
        yield
    finally:
        values.update(known)
        term.logger.disabled = disabled


def _explained(error: Exception, path: Path, form: str) -> HierarchyError:
    """Return what is wrong, in a line."""
    if isinstance(error, RecursionError):
        return HierarchyError(f"{path}: it is nested too deeply to be read")
    if isinstance(error, OSError) and error.strerror:
        return HierarchyError(f"cannot read {path}: {error.strerror}")
    if form not in _XML:
        try:
            read_text(path, HierarchyError)
        except HierarchyError as worse:
            return worse
    line = _line_of(error)
    where = f"{path}:{line}" if line else f"{path}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return HierarchyError(f"{where}: this is no {form} that can be read: {reason}")


def _line_of(error: Exception) -> int | None:
    for name, first in (("lineno", 0), ("lines", 1)):
        if isinstance(found := getattr(error, name, None), int):
            return found + first
    located = getattr(error, "getLineNumber", None)
    return located() if callable(located) else None
