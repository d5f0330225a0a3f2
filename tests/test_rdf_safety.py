"""RDF from strangers: nothing is expanded, fetched or read that was not asked for."""

import json
import socket

import pytest
import rdflib

from kfr.errors import KfrError
from kfr.sources import Source

LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [ <!ENTITY a "ha"> <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"> ]>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">&b;</rdf:RDF>
"""
OUTSIDE = """<?xml version="1.0"?>
<!DOCTYPE x [ <!ENTITY secret SYSTEM "file:///etc/hostname"> ]>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">&secret;</rdf:RDF>
"""
SUB = "http://www.w3.org/2000/01/rdf-schema#subClassOf"


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    def refuse(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("text", [LAUGHS, OUTSIDE], ids=["laughs", "external"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_entities_are_refused_before_a_parser_sees_them(
    tmp_path, monkeypatch, text, encoding
):
    monkeypatch.setattr(rdflib.Dataset, "parse", pytest.fail)
    path = tmp_path / "a.rdf"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(KfrError, match=r"a\.rdf:2: XML with a (DOCTYPE|ENTITY)"):
        Source.parse(str(path)).load()


@pytest.mark.parametrize(
    "context",
    [
        "http://example.org/context.jsonld",
        "file:///etc/hostname",
        ["http://example.org/context.jsonld", {}],
        {"@import": "http://example.org/context.jsonld"},
        {"x": {"@id": "http://x/y", "@context": "http://example.org/c.jsonld"}},
    ],
    ids=["remote", "file", "array", "import", "nested"],
)
def test_a_context_from_elsewhere_is_not_fetched(tmp_path, context):
    path = tmp_path / "a.jsonld"
    item = {
        "@context": context,
        "@id": "http://x/cat",
        SUB: [{"@id": "http://x/animal"}],
    }
    path.write_text(json.dumps(item))
    with pytest.raises(KfrError, match="a.jsonld"):
        Source.parse(str(path)).load()


def test_what_an_ontology_imports_is_not_followed(tmp_path, caplog):
    path = tmp_path / "a.ttl"
    path.write_text(
        "@prefix owl: <http://www.w3.org/2002/07/owl#> .\n"
        "<http://x/> a owl:Ontology ; owl:imports <http://example.org/more.owl> .\n"
        f"<http://x/cat> <{SUB}> <http://x/animal> .\n"
    )
    assert list(Source.parse(str(path)).load().edges) == [
        ("http://x/animal", "http://x/cat")
    ]
    assert "http://example.org/more.owl" in caplog.text


@pytest.mark.parametrize("address", ["http://example.org/a.owl", "file:///etc/passwd"])
def test_an_address_is_no_path(address):
    with pytest.raises(KfrError):
        Source.parse(address).load()


def test_turtle_nested_three_thousand_deep_is_parsed_or_refused(tmp_path):
    path = tmp_path / "deep.ttl"
    path.write_text(
        f"<http://x/a> <{SUB}> <http://x/b> .\n"
        "<http://x/a> <http://x/p> "
        + "[ <http://x/p> " * 3000
        + "1"
        + " ]" * 3000
        + " .\n"
    )
    for parser in ("rdflib", "auto"):
        try:
            found = Source.parse(f"rdf,path={path},parser={parser}").load()
        except KfrError:
            continue
        assert list(found.edges) == [("http://x/b", "http://x/a")]


@pytest.mark.parametrize("suffix", ["ttl", "nt", "rdf", "jsonld", "trig"])
@pytest.mark.parametrize("text", ["", "\0\1\2", "<a> <b", "{", "ÿ" * 9, "<a/>"])
def test_only_errors_of_ours_escape(tmp_path, suffix, text):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(KfrError):
        Source.parse(str(path)).load()
