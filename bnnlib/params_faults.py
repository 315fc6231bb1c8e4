"""Faults of parameters in words: the name, the value received, the values allowed, and a guess for a typo."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Schema = type[BaseModel]


def lines(error: ValidationError, schema: Schema) -> list[str]:
    """One line for each fault that pydantic found in the content for ``schema``."""
    return [_fault(dict(detail), schema) for detail in error.errors()]


def _fault(detail: dict[str, Any], schema: Schema) -> str:
    """One line for one of pydantic's errors: the parameter, the value received, the values allowed, a guess."""
    path = _path(detail["loc"], schema)
    name = ".".join(path) or "the file"
    section = _section(path[:-1], schema)
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown parameter{_guess(path[-1], list(section.model_fields))}"
    if detail["type"] == "combination":
        return f"{name}: {detail['input']!r} is not allowed here: {detail['msg']}"
    field = section.model_fields.get(path[-1]) if path else None
    allowed = _allowed(field) if field is not None else "a mapping of sections"
    if detail["type"] == "missing":
        return f"{name}: missing; allowed: {allowed}"
    return f"{name}: {detail['input']!r} is not allowed; allowed: {allowed}{_hint(detail['input'], field)}"


def _path(place: tuple[str | int, ...], schema: Schema) -> list[str]:
    """The parameter's name, step by step; behind a field of two types pydantic adds the type, which is left out."""
    path: list[str] = []
    section: Schema | None = schema
    for step in map(str, place):
        if section is None:
            break
        path.append(step)
        field = section.model_fields.get(step)
        section = _inner(field.annotation) if field is not None else None
    return path


def _inner(annotation: Any) -> Schema | None:
    """The section that a field holds, also where null may stand for it."""
    choices = get_args(annotation) or (annotation,)
    return next((choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel)), None)


def _section(path: list[str], schema: Schema) -> Schema:
    section = schema
    for step in path:
        section = cast("Schema", _inner(section.model_fields[step].annotation))  # faults stand inside sections
    return section


def _guess(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def _allowed(field: FieldInfo) -> str:
    """The values that a field takes, in words."""
    annotation = field.annotation
    metadata = field.metadata
    optional = ""
    if type(None) in get_args(annotation):
        annotation = next(choice for choice in get_args(annotation) if choice is not type(None))
        optional = ", or null"
        if get_origin(annotation) is Annotated:
            annotation, info = get_args(annotation)
            metadata = info.metadata
    if get_origin(annotation) is Literal:
        return ", ".join(map(str, get_args(annotation))) + optional
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with {', '.join(annotation.model_fields)}{optional}"
    if annotation is bool:
        return f"true or false{optional}"
    kind = "a whole number" if annotation is int else "a number"
    return f"{kind} {_range(metadata)}{optional}"


def _range(metadata: list[Any]) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    bounds = [(word, getattr(bound, key)) for bound in metadata for key, word in words.items() if hasattr(bound, key)]
    return " ".join(f"{word} {bound}" for word, bound in bounds)


def _hint(value: object, field: FieldInfo | None) -> str:
    """A word more where a number was read as text."""
    if not isinstance(value, str) or field is None or get_origin(field.annotation) is Literal:
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " (this is text: write the number without quotes)"
