"""Who is let in, and what is refused."""

from email.message import Message

import pytest
from served import alive, loopback_only

from kfr.serving import RefusedError
from kfr.serving.door import Door


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    """Let tests speak to this machine only."""
    loopback_only(monkeypatch)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {"Host": "localhost:9999"}),  # through a tunnel
        (200, {"Host": "[::1]"}),
        (421, {"Host": "evil.example"}),
        (421, {"Host": "127.0.0.1.evil.example"}),
        (421, {"Host": "192.168.0.7"}),
        (421, {"Host": "[::1"}),
        (421, {"Host": ""}),
        (421, {"Host": None}),
        (403, {"X_Kfr_Token": None}),
        (403, {"X_Kfr_Token": "é"}),
        (403, {"X_Kfr_Token": None, "Cookie": "kfr-x=1; a"}),
    ],
)
def test_only_who_has_the_token_comes_in_and_only_under_our_name(
    there, status, headers
):
    found = there.get("/api/about", **headers)
    assert found.status == status
    assert status == 200 or set(found.json) == {"error"}


def test_two_hosts_are_none(there):
    hosts = "Host: localhost\r\nHost: evil.example\r\n"
    head = f"GET / HTTP/1.1\r\n{hosts}X-Kfr-Token: {there.token}\r\n\r\n"
    assert there.raw(head.encode()).status == 421


def test_the_cookie_opens_only_for_our_own_page(there):
    page = there.get(f"/?token={there.token}", X_Kfr_Token=None)
    assert page.status == 200
    assert b"<script" in page.body
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    cookie, *flags = page.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(flags)
    own = {"X_Kfr_Token": None, "Cookie": cookie}
    origin = f"http://127.0.0.1:{there.port}"
    ours, others = {"Origin": origin}, {"Origin": "http://127.0.0.1:1"}
    assert there.get("/", **own).status == 200
    assert there.get("/thumbnail/0", **own, Sec_Fetch_Site="same-origin").status == 200
    for site in ("cross-site", "same-site"):
        assert there.get("/thumbnail/0", **own, Sec_Fetch_Site=site).status == 403
    body = {"image": 0}
    assert there.post("/api/classify", body, **own, **ours).status == 200
    assert there.post("/api/classify", body, **own, **others).status == 403
    assert there.post("/api/classify", body, **own).status == 403
    assert there.post("/api/classify", body, **own, Origin="null").status == 403
    wrong = f"{cookie[:-1]}{'a' if cookie[-1] != 'a' else 'b'}"
    assert there.get("/", X_Kfr_Token=None, Cookie=wrong).status == 403


def given(**headers):
    found = Message()
    for name, value in headers.items():
        found[name.replace("_", "-")] = value
    return found


@pytest.mark.parametrize(
    ("host", "name", "fits"),
    [
        ("0.0.0.0", "192.168.0.7:8642", True),  # a number: no name was bound to it
        ("0.0.0.0", "[fe80::7]:8642", True),
        ("0.0.0.0", "localhost:8642", True),
        ("0.0.0.0", "evil.example:8642", False),
        ("0.0.0.0", "192.168.0.7.evil.example", False),
        ("0.0.0.0", "", False),
        ("box.lan", "BOX.lan:8642", True),
        ("box.lan", "other.lan", False),
        ("::1", "[::1]:8642", True),
        ("::1", "192.168.0.7", False),
    ],
)
def test_other_machines_come_by_number_or_by_the_name_that_was_given(host, name, fits):
    door = Door(host)
    asked = given(Host=name, X_Kfr_Token=door.token)
    if fits:
        assert door.check("GET", "/api/about", asked) == {}
        return
    with pytest.raises(RefusedError) as refused:
        door.check("GET", "/api/about", asked)
    assert refused.value.status == 421


def test_what_a_browser_says_of_the_page_decides_only_where_it_says_it():
    """Older browsers, and programs with the cookie, send neither header to read."""
    door = Door("127.0.0.1")
    own = {"Host": "127.0.0.1:1", "Cookie": f"a=b; {door.cookie}={door.token}"}
    for method, more, fits in [
        ("GET", {}, True),
        ("GET", {"Sec_Fetch_Site": "none"}, True),
        ("GET", {"Origin": "http://127.0.0.1:1"}, True),
        ("GET", {"Origin": "http://127.0.0.1:2"}, False),
        ("GET", {"Sec_Fetch_Site": "same-site"}, False),
        ("POST", {}, False),
        ("POST", {"Sec_Fetch_Site": "none"}, False),
        ("POST", {"Sec_Fetch_Site": "same-origin"}, True),
        (
            "POST",
            {"Sec_Fetch_Site": "cross-site", "Origin": "http://127.0.0.1:1"},
            False,
        ),
    ]:
        asked = given(**own, **more)
        if fits:
            assert door.check(method, "/api/about", asked) == {}
            continue
        with pytest.raises(RefusedError, match="from another page") as refused:
            door.check(method, "/api/about", asked)
        assert refused.value.status == 403


# What is refused


@pytest.mark.parametrize(
    "target",
    [
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/thumbnail/../../x.index",
        "/thumbnail/%2e%2e", "/thumbnail/0/../1", "/thumbnail/-1", "/thumbnail/48",
        "/thumbnail/999999999999", "/thumbnail/1e3", "/thumbnail/٣", "/thumbnail/0x1",
        "/thumbnail/0\0.png", "/thumbnail/0%00", "/main.js\0", "/page.html",
        "//etc/passwd", "/sent/../../etc", "/sent/none", "/assets/main.js", "/.",
        "/server.py", "\\..\\..", "http://evil.example/", "*", "/api", "/api/",
        "/api/about/", "/api/../api/about", "/file?path=/etc/passwd",
    ],
)  # fmt: skip
def test_no_path_reaches_the_file_system(there, target):
    target = target.encode().decode("latin1")
    found = there.get(target)
    assert found.status == 404
    assert set(found.json) == {"error"}


@pytest.mark.parametrize(
    ("question", "body"),
    [
        ("search", b""), ("search", b"{"), ("search", b"[" * 60_000),
        ("search", b"null"), ("search", b"\xff"),
        ("search", b'{"image": 1' + b"0" * 5000 + b"}"),
        ("search", {}), ("search", {"image": None}), ("search", {"image": True}),
        ("search", {"image": 1.5}), ("search", {"image": 0, "k": 0}),
        ("search", {"image": 0, "k": 10**9}), ("search", {"image": 0, "lambda": -1}),
        ("search", b'{"image": 0, "lambda": NaN}'), ("search", {"image": 0, "x": 1}),
        ("search", {"image": 0, "conditions": ["group1"] * 17}),
        ("search", {"image": 0, "conditions": ["group9"]}),
        ("search", {"image": 0, "conditions": [{"node": "x"}]}),
        ("search", {"image": 0, "conditions": [{"node": "root", "not": True}]}),
        ("search", {"image": 0, "conditions": ["not:root"]}),
        ("search", {"image": 0, "conditions": [{"attribute": "a", "value": "b"}]}),
        ("search", {"image": 0, "conditions": ["x" * 501]}),
        ("classify", {"image": 0, "threshold": 2}),
        ("classify", {"image": 0, "top": 0}),
    ],
)  # fmt: skip
def test_a_question_that_is_none_is_refused_and_named(there, question, body):
    found = there.post(f"/api/{question}", body)
    assert found.status == 400
    assert found.json["error"]
    assert b"Traceback" not in found.body
    alive(there)


def test_what_is_not_there_is_not_found(there):
    for image in (-1, 48, 10**30, "nothing", "../../etc"):
        assert there.post("/api/classify", {"image": image}).status == 404
    assert there.get("/api/distances?class=24").status == 404
    for query in ("", "class=x", "class=-1", "class=0&class=1", "class=0&count=999"):
        assert there.get(f"/api/distances?{query}").status == 400
    assert (
        there.get("/api/images?" + "&".join(f"a{i}" for i in range(20))).status == 400
    )


def test_other_methods_and_other_protocols_are_refused(there):
    assert there.get("/api/search").status == 405
    assert there.post("/api/about", {}).status == 405
    assert there.post("/", {}).status == 404
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        assert there.ask(method, "/").status == 501
    assert there.raw(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").status == 400
    assert there.raw(b"GET / HTTP/9.9\r\n\r\n").status == 505
    assert there.raw(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n").status == 414
    many = b"".join(b"a%d: b\r\n" % i for i in range(200))
    assert there.raw(b"GET / HTTP/1.1\r\n" + many + b"\r\n").status == 431
    alive(there)
