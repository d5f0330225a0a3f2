"""What hostile files try, beyond what test_rdf_safety shows: none of it happens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rdflib
from rdflib import term

from kfr import plugins
from kfr.errors import HierarchyError, KfrError, UsageError
from kfr.sources import Source

SUB = "http://www.w3.org/2000/01/rdf-schema#subClassOf"
EDGE = f"<http://x/cat> <{SUB}> <http://x/animal> .\n"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XSD = "http://www.w3.org/2001/XMLSchema#"
ENTITIES = "".join(
    f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(8)
)
BOMB = f"<!DOCTYPE x [<!ENTITY a 'ha'>{ENTITIES}]><x>&i;</x>"


def refused(path, match):
    with pytest.raises(KfrError, match=match):
        Source.parse(str(path)).load()


@pytest.fixture
def no_parser(monkeypatch):
    monkeypatch.setattr(rdflib.Dataset, "parse", pytest.fail)


@pytest.mark.parametrize("suffix", ["rdf", "owl", "xml", "trix"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be", "utf-16-le", "utf-32"])
def test_a_doctype_is_found_in_every_encoding(tmp_path, suffix, encoding, no_parser):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(f"<?xml version='1.0'?>\n<!-- a -->{BOMB}".encode(encoding))
    refused(path, rf"a\.{suffix}:2: XML with a DOCTYPE")


def test_a_doctype_behind_ten_megabytes_is_found(tmp_path, no_parser):
    path = tmp_path / "a.rdf"
    path.write_text("<?xml version='1.0'?>" + "<!-- -->" * 1_250_000 + BOMB)
    refused(path, "DOCTYPE")


@pytest.mark.parametrize("parser", ["rdflib", "auto"])
@pytest.mark.parametrize(
    "literal",
    [
        f'"{BOMB}"^^<{RDF}XMLLiteral>',
        f'"{BOMB}"^^<{RDF}HTML>',
        f'"1E1000000000"^^<{XSD}decimal>',
        f'"{"9" * 100_000}"^^<{XSD}integer>',
        f'"P{"9" * 10_000}Y"^^<{XSD}duration>',
    ],
    ids=["xml", "html", "decimal", "integer", "duration"],
)
def test_a_text_is_never_turned_into_a_value(tmp_path, monkeypatch, literal, parser):
    kind = rdflib.URIRef(literal.rpartition("^^")[2][1:-1])
    monkeypatch.setitem(term._toPythonMapping, kind, pytest.fail)  # turns it into one
    path = tmp_path / "a.nt"
    path.write_text(EDGE + f"<http://x/cat> <http://x/p> {literal} .\n")
    found = Source.parse(f"rdf,path={path},parser={parser}").load()
    assert list(found.edges) == [("http://x/animal", "http://x/cat")]


def test_rdflib_turns_texts_into_values_again_afterwards(tmp_path):
    from rdflib import Literal
    from rdflib.namespace import XSD as NAMES

    path = tmp_path / "a.ttl"
    path.write_text("broken")
    refused(path, r"a\.ttl")
    Source.parse(f"rdf,path={write(tmp_path, 'a.nt', EDGE)},parser=rdflib").load()
    assert Literal("7", datatype=NAMES.integer).value == 7


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("key", ["@context", "@import"])
@pytest.mark.parametrize("address", ["http://example.org/c", "c.jsonld", "/etc/passwd"])
def test_an_address_is_refused_wherever_a_context_may_stand(tmp_path, key, address):
    deep = {"a": [{"b": {"c": {"@context": {"t": {"@context": {key: address}}}}}}]}
    listed = {"@context": [{}, {"t": {"@id": "http://x/", "@context": [address]}}]}
    for whole in ([deep], listed, {"@graph": [listed]}):
        path = write(tmp_path, "a.jsonld", json.dumps(whole))
        refused(path, r"a\.jsonld: the @\w+ .* is elsewhere")


def test_of_a_context_that_is_there_twice_the_one_checked_is_used(tmp_path):
    text = '{"@context": "http://example.org/c", "@context": {"s": "%s"}, "@id": '
    text += '"http://x/cat", "s": {"@id": "http://x/animal"}}'
    path = write(tmp_path, "a.jsonld", text % SUB)
    assert list(Source.parse(str(path)).load().edges) == [
        ("http://x/animal", "http://x/cat")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ttl", EDGE + "<http://x/a> <http://x/p> " + "( " * 50_000),
        ("a.ttl", EDGE + "<http://x/a> <http://x/p> " + "[ <http://x/p> " * 50_000),
        ("a.n3", EDGE + "{ " * 50_000),
        ("a.jsonld", '{"a":' * 50_000),
        ("a.rdf", "<a>" * 20_000),
        ("a.json", "[" * 50_000),
    ],
)
def test_what_is_nested_without_end_is_refused(tmp_path, name, text):
    path = write(tmp_path, name, text)
    refused(path, name)
    if name.endswith("ttl"):
        refused_by_rdflib = Source.parse(f"rdf,path={path},parser=rdflib")
        with pytest.raises(HierarchyError, match="nested too deeply"):
            refused_by_rdflib.load()


@pytest.mark.parametrize("url", ["http://x/a.ttl", "https://x/a.nt", "file:///a.owl"])
def test_a_url_is_no_path_wherever_it_is_given(url):
    for text in (url, f"rdf,path={url}", f"text,order=child-parent,path={url}"):
        with pytest.raises(UsageError, match="is a URL"):
            Source.parse(text)
    for source in ("rdf", "taxonomy", "indented", "nodelink", "folder", "induced"):
        with pytest.raises(UsageError, match="is a URL"):
            plugins.make("source", source, Path(url))


HOSTILE = {
    "a.rdf": f'<!DOCTYPE x [<!ENTITY s SYSTEM "SECRET">]><rdf:RDF xmlns:rdf="{RDF}"/>',
    "b.jsonld": '{"@context": "SECRET", "@id": "http://x/a"}',
    "c.jsonld": '{"@context": "http://127.0.0.1:9/c", "@id": "http://x/a"}',
    "d.ttl": "<> <http://www.w3.org/2002/07/owl#imports> <SECRET>,"
    f"<http://127.0.0.1:9/d> .\n{EDGE}",
    "e.rdf": '<?xml-stylesheet href="SECRET"?><rdf:RDF xmlns:s="http://www.w3.org/2000/'
    f'01/rdf-schema#" xmlns:rdf="{RDF}" xml:base="SECRET"><rdf:Description rdf:ID="a">'
    '<s:subClassOf rdf:resource="SECRET"/><i:include xmlns:i="http://www.w3.org/2001/'
    'XInclude" href="SECRET"/></rdf:Description></rdf:RDF>',
    "f.n3": f"@prefix l: <http://www.w3.org/2000/10/swap/log#> . {EDGE}"
    "<SECRET> l:semantics <SECRET> .",
}
WATCHED = """
import sys
from kfr.errors import KfrError
from kfr.sources import Source
Source.parse(sys.argv[2]).load()  # imports what it imports
seen = []
def watch(event, args):
    if event == "open" and "secret" in str(args[0]) or event.startswith("socket."):
        seen.append(f"{event} {args}")
sys.addaudithook(watch)
for path in sys.argv[3:]:
    for parser in ("rdflib", "auto"):
        try:
            Source.parse(f"rdf,path={path},parser={parser}").load()
        except KfrError:
            pass
open(sys.argv[1]).close()
sys.exit("\\n".join(seen))
"""


def test_no_socket_is_opened_and_no_other_file(tmp_path):
    """In a process whose every `open` and socket is watched; the last open is ours."""
    secret = write(tmp_path, "secret.txt", "{}")
    safe = write(tmp_path, "safe.ttl", EDGE)
    hostile = [
        str(write(tmp_path, name, text.replace("SECRET", secret.as_uri())))
        for name, text in HOSTILE.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(secret), str(safe), *hostile],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    opened = [line for line in done.stderr.splitlines() if "secret.txt" in line]
    seen = [line for line in opened if line.startswith(("open ", "socket"))]
    assert seen == [f"open ('{secret}', 'r', {flags(seen)})"], done.stderr
    assert "socket." not in done.stderr


def flags(seen):
    return seen[-1].rpartition(" ")[2].rstrip(")") if seen else ""
