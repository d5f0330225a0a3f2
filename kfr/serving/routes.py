"""What each address answers; an address that is not here is answered with 404."""

import re
from collections.abc import Callable
from typing import Any

from kfr.files import json_text
from kfr.serving import Asked, RefusedError, Reply, answers, questions
from kfr.serving.door import parsed
from kfr.serving.page import assets
from kfr.serving.pictures import SIDES, encoded
from kfr.serving.searching import search
from kfr.serving.site import Site

_PICTURE = re.compile(r"/(image|thumbnail)/([0-9]{1,12})")
_SENT = re.compile(r"/sent/([A-Za-z0-9_-]{1,20})")
_FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}

Answer = Callable[[Site, Asked], Any]


def _about(site: Site, _: Asked) -> Any:
    return answers.about(site)


def _browse(site: Site, asked: Asked) -> Any:
    fields = parsed(asked.query)
    return answers.browse(site, questions.read(questions.Browse, fields))


def _distances(site: Site, asked: Asked) -> Any:
    fields = parsed(asked.query)
    return answers.distances(site, questions.read(questions.Distances, fields))


def _classify(site: Site, asked: Asked) -> Any:
    return answers.classify(site, questions.read(questions.Classify, asked.body))


def _search(site: Site, asked: Asked) -> Any:
    return search(site, questions.read(questions.Search, asked.body))


def _take(site: Site, asked: Asked) -> Any:
    return {"image": site.take(asked.body)}


GET: dict[str, Answer] = {
    "/api/about": _about,
    "/api/images": _browse,
    "/api/distances": _distances,
}
POST: dict[str, Answer] = {
    "/api/classify": _classify,
    "/api/search": _search,
    "/api/sent": _take,
}


def routes(site: Site) -> Callable[[Asked], Reply]:
    """Return what answers requests about a site."""
    page = assets()

    def answer(asked: Asked) -> Reply:
        table = POST if asked.method == "POST" else GET
        if asked.path in table:
            return _json(table[asked.path](site, asked))
        if asked.path in {**GET, **POST}:
            raise RefusedError(405, f"that is not asked by {asked.method}")
        if asked.method != "POST" and asked.path in page:
            return page[asked.path]
        if asked.method != "POST" and (found := _picture(site, asked.path)):
            return found
        raise RefusedError(404, "there is nothing here")

    return answer


def _picture(site: Site, path: str) -> Reply | None:
    if sent := _SENT.fullmatch(path):
        return Reply(*site.sent_called(sent[1]).picture, more=_FOREVER)
    if not (found := _PICTURE.fullmatch(path)):
        return None
    side = SIDES[found[1] == "image"]
    image = site.pictures.small(int(found[2]), side)
    return Reply(*encoded(image, side), more=_FOREVER)


def _json(value: Any) -> Reply:
    content = json_text(value, indent=None).encode(errors="replace")
    return Reply("application/json", content)
