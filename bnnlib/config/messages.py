"""Errors of parameters in words: the name, the value received, the values allowed, and a guess for a typo."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Schema = type[BaseModel]
TAG = "name"  # of a tagged choice, such as `optimizer: {name: adam, rate: 0.01}`


def lines(error: ValidationError, schema: Schema) -> list[str]:
    """One line for each error that pydantic found in the content for ``schema``."""
    return [_line(dict(detail), schema) for detail in error.errors()]


def listed(name: str, found: Sequence[str]) -> str:
    """One message for all errors of a thing: its name and their number, then a line for each."""
    number = "1 error" if len(found) == 1 else f"{len(found)} errors"
    return "\n".join([f"{name}: {number}", *(f"  {line}" for line in found)])


class _Field(NamedTuple):
    """What is allowed at a place: a type without null and its bounds, and whether null is allowed too.

    ``choices``: where the type is one of a tagged choice, all of these, as `_members` gives them.
    """

    kind: Any
    bounds: list[Any]
    optional: bool = False
    choices: Mapping[str, Any] = MappingProxyType({})


def _line(detail: dict[str, Any], schema: Schema) -> str:
    """One line for one of pydantic's errors: the parameter, the value received, the values allowed, a guess."""
    name, holder, field = _find(detail["loc"], schema)
    value, kind = detail["input"], detail["type"]
    if kind == "extra_forbidden":
        return f"{name}: {_unknown(name, str(detail['loc'][-1]), holder)}"
    if kind == "rule":  # one of our own, whose message is whole
        return f"{name}{detail.get('ctx', {}).get('inside', '')}: {detail['msg']}"
    if kind == "missing":
        return f"{name}: missing; allowed: {_allowed(field)}"
    if kind == "union_tag_not_found" and isinstance(value, dict):
        return f"{name}.{TAG}: missing; allowed: {', '.join(_members(field.kind))}"
    if kind == "union_tag_invalid":
        return f"{name}.{TAG}: {value[TAG]!r} is not allowed; allowed: {', '.join(_members(field.kind))}"
    allowed = _allowed(field) if detail["loc"] else "a mapping of sections"
    return f"{name}: {value!r} is not allowed; allowed: {allowed}{_hint(value, field)}"


def _find(place: tuple[str | int, ...], schema: Schema) -> tuple[str, _Field, _Field]:
    """The name of a place, as section.parameter or list[number], what holds it, and what is allowed there."""
    steps: list[str] = []
    holder = field = _Field(schema, [])
    for step in place:
        if step == "[key]":  # pydantic's word for the name before it
            return f"the name {place[len(steps) - 1]} in {_joined(steps[:-1])}", holder, _Field(str, [])
        inside = _inside(field, step)
        if inside is None:
            break
        if _members(field.kind):  # pydantic puts the choice into the place: it is no name
            field = inside
            continue
        holder, field = field, inside
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return _joined(steps) or "the file", holder, field


def _joined(steps: Sequence[str]) -> str:
    return "".join(steps).removeprefix(".")


def _inside(field: _Field, step: str | int) -> _Field | None:
    """What is allowed one step inside: a parameter of a section, known or not, or an item of a list or a mapping."""
    if members := _members(field.kind):
        return _Field(members[str(step)], [], choices=members) if step in members else None
    if _is_section(field.kind):
        known = field.kind.model_fields.get(step)
        return _Field(None, []) if known is None else _plain(known.annotation, known.metadata)
    if get_origin(field.kind) is dict:
        return _plain(get_args(field.kind)[1], [])
    if get_origin(field.kind) is tuple:
        return _plain(get_args(field.kind)[0], [])
    return None


def _members(kind: Any) -> dict[str, Any]:
    """The sections that a tagged choice is between, by the value of their `TAG`; none for any other type."""
    if get_origin(kind) not in (Union, UnionType):
        return {}
    return {_choice(section) or "": section for section in get_args(kind)}


def _plain(annotation: Any, bounds: Sequence[Any]) -> _Field:
    """A type without null, and without the wrapping that its bounds come in."""
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    if type(None) in get_args(annotation):
        return _plain(choices[0], bounds)._replace(optional=True)
    if get_origin(annotation) is Annotated:
        kind, *info = get_args(annotation)
        return _plain(kind, [*bounds, *(bound for each in info for bound in getattr(each, "metadata", []))])
    return _Field(annotation, list(bounds))


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _guess(word: str, section: Schema) -> str:
    known = list(section.model_fields)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def _unknown(name: str, word: str, holder: _Field) -> str:
    """What to say of a parameter that its section does not have; one of another choice has to be removed."""
    if any(word in section.model_fields for section in holder.choices.values()):
        return f"not a parameter of {_choice(holder.kind)}; `-S '~{name}'` removes it"
    return f"unknown parameter{_guess(word, holder.kind)}"


def _choice(section: Schema) -> str | None:
    """Which of a tagged choice a section is; None for any other section."""
    tag = section.model_fields.get(TAG)
    values = get_args(tag.annotation) if tag and get_origin(tag.annotation) is Literal else ()
    return str(values[0]) if len(values) == 1 else None


def _allowed(field: _Field) -> str:
    """The values that are allowed there, in words."""
    optional = ", or null" if field.optional else ""
    return f"{_kind(field)}{optional}"


def _kind(field: _Field) -> str:
    origin = get_origin(field.kind)
    if origin is Literal:
        return ", ".join(map(str, get_args(field.kind)))
    if members := _members(field.kind):
        return f"a section with {TAG} {', '.join(members)}"
    if _is_section(field.kind):
        return f"a section with {', '.join(field.kind.model_fields)}"
    if origin is dict:
        return f"a section whose names are yours, each {_kind(_inside(field, '') or field)}"
    if origin is tuple:
        return f"a list{_length(field.bounds)}, each item {_kind(_inside(field, 0) or field)}"
    if field.kind is bool:
        return "true or false"
    if field.kind is str:
        return "a name of letters, digits, - and _, a letter first"
    number = "a whole number" if field.kind is int else "a number"
    return f"{number} {_range(field.bounds)}"


def _length(bounds: list[Any]) -> str:
    least = next((bound.min_length for bound in bounds if hasattr(bound, "min_length")), 0)
    most = next((bound.max_length for bound in bounds if hasattr(bound, "max_length")), None)
    return "" if most is None else f" of {least} to {most}"


def _range(bounds: list[Any]) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    found = [(word, getattr(bound, key)) for bound in bounds for key, word in words.items() if hasattr(bound, key)]
    return " ".join(f"{word} {bound}" for word, bound in found)


def _hint(value: object, field: _Field) -> str:
    """A word more where a number was read as text."""
    if not isinstance(value, str) or field.kind not in (int, float):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " (this is text: write the number without quotes)"
