"""What can be asked, as JSON: checked before anything is done."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kfr.serving import RefusedError

Text = Annotated[str, Field(max_length=500)]
Image = int | Annotated[str, Field(max_length=20)]  # a position, or an image sent
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Node(_Question):
    """A condition: to be at or below a node; or not to be."""

    node: Text  # its id
    no: Annotated[bool, Field(alias="not")] = False


class Value(_Question):
    """A condition: to have a value of an attribute; or not to have it."""

    attribute: Text
    value: Text
    no: Annotated[bool, Field(alias="not")] = False


class Search(_Question):
    """Images like one, under conditions."""

    image: Image
    conditions: Annotated[list[Text | Node | Value], Field(max_length=16)] = []
    weight: Annotated[
        float, Field(alias="lambda", ge=0, le=1e4, allow_inf_nan=False)
    ] = 1.1
    k: Annotated[int, Field(ge=1, le=200)] = 24
    how: Literal["search", "student", "loss"] = "search"  # of what conditions ask


class Classify(_Question):
    """What is in an image."""

    image: Image
    threshold: Share | None = None
    top: Annotated[int, Field(ge=1, le=50)] = 6


class Browse(_Question):
    """Images of the collection."""

    model_config = ConfigDict(strict=False)  # it comes as text

    text: Text = ""
    start: Annotated[int, Field(ge=0, le=10**12)] = 0
    count: Annotated[int, Field(ge=1, le=200)] = 48
    mixed: bool = False


class Distances(_Question):
    """What is near a class."""

    model_config = ConfigDict(strict=False)

    label: Annotated[int, Field(alias="class", ge=0)]
    count: Annotated[int, Field(ge=1, le=200)] = 12


Question = TypeVar("Question", bound=BaseModel)


def read(kind: type[Question], given: bytes | dict[str, str]) -> Question:
    """Read a question: a JSON body, or the fields of a query.

    Raises:
        RefusedError: it is not one; the message names the field.
    """
    try:
        if isinstance(given, bytes):
            return kind.model_validate_json(given)
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = f"{place}: {first['msg']}" if place else first["msg"]
        raise RefusedError(400, said[:300]) from None
