"""What a component is, and the tables that components are listed in.

A component is a small frozen settings object (`LSTM(128, bidirectional=True)`). Python composes such objects; TOML
names them by `type`, the name of the class. Each room lists its own classes in a tuple `COMPONENTS`; another package
adds one through a Python entry point in the group `korseq.<kind>` (for example `korseq.encoder`).
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache, wraps
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any, TypeAlias, TypeVar, dataclass_transform, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from korseq.errors import ConfigError, did_you_mean

T = TypeVar("T")

# Which room lists the components of a kind. Rooms are imported when a kind is first asked for, not before: torch is slow.
ROOMS = {
    "tokenizer": "korseq.text",
    "embedding": "korseq.nn.embeddings",
    "encoder": "korseq.nn.encoders",
    "decoder": "korseq.nn.decoders",
    "attention": "korseq.nn.decoders.attention",
    "search": "korseq.nn.search",
    "pooling": "korseq.nn.pooling",
    "head": "korseq.heads",
}


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass whose fields are checked strictly and which refuses unknown names.

    To make one with a mistake raises a ConfigError, which names the argument; see `create` for many at once.
    """
    decorated: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))(cls)
    checked = decorated.__init__

    @wraps(checked)
    def init(self: Any, *args: Any, **given: Any) -> None:
        try:
            checked(self, *args, **given)
        except ValidationError as error:
            raise ConfigError("; ".join(mistakes_of(_rewritten(error, decorated), cls.__name__))) from None

    decorated.__init__, decorated.__checked_init__ = init, checked
    return decorated  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def component(cls: type[T]) -> type[T]:
    """Class decorator: settings that can be swapped for others of their kind, so that TOML tells them by `type`."""
    decorated = settings(cls)
    decorated.is_component = True  # type: ignore[attr-defined]
    return decorated


@cache
def components(kind: str) -> dict[str, type]:
    """All components of a kind by name: korseq's own, then those that installed packages add.

    Raises:
        ConfigError: If a package's entry cannot be loaded, is no component, or has a name that is taken.
    """
    table = {cls.__name__: cls for cls in import_module(ROOMS[kind]).COMPONENTS}
    for entry in entry_points(group=f"korseq.{kind}"):
        place = f"the entry point {entry.name} = {entry.value} in the group korseq.{kind}"
        try:
            cls = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{place} cannot be loaded ({error}); update or remove its package") from error
        if not getattr(cls, "is_component", False):
            raise ConfigError(f"{place} is no component: its class needs the decorator korseq.registry.component")
        if table.setdefault(cls.__name__, cls) is not cls:
            raise ConfigError(f"{place} has the name of another component; only one of them can be meant by it")
    return table


def create(cls: type[T], given: dict[str, Any]) -> T:
    """`cls(**given)`, where an unknown name is reported with its nearest valid one, and None is the default of the field.

    Raises:
        pydantic.ValidationError: With one entry for each mistake.
    """
    made: Any = object.__new__(cls)
    names = {f.name for f in fields(cls)}  # type: ignore[arg-type] # it is a dataclass
    try:
        made.__checked_init__(**{name: v for name, v in given.items() if v is not None or name not in names})
    except ValidationError as error:  # which pydantic takes up, if this is a table inside another one
        raise _rewritten(error, cls) from None
    return made  # type: ignore[no-any-return]


def mistakes_of(error: ValidationError, *before: str) -> list[str]:
    """Each with its path, which begins with what stands `before`."""
    return [f"{'.'.join(map(str, (*before, *e['loc']))) or '(top)'}: {e['msg']}" for e in error.errors()]


def _rewritten(error: ValidationError, cls: type) -> ValidationError:
    valid = [f.name for f in fields(cls)]
    lines: list[InitErrorDetails] = []
    for line in error.errors():
        kind: str | PydanticCustomError = line["type"]
        loc = line["loc"]
        if loc and isinstance(loc[0], int) and loc[0] < len(valid):  # given by its place
            loc = (valid[loc[0]], *loc[1:])
        if kind == "unexpected_keyword_argument" and len(loc) == 1:
            kind = PydanticCustomError("unknown_key", "unknown key{hint}", {"hint": did_you_mean(str(loc[0]), valid)})
        elif kind in ("missing", "missing_argument"):
            kind = PydanticCustomError("missing_key", "missing; it has no default")
        else:
            kind = PydanticCustomError("wrong_value", "{message}", {"message": line["msg"]})
        lines.append(InitErrorDetails(type=kind, loc=loc, input=line["input"]))
    return ValidationError.from_exception_data(cls.__name__, lines)


class Plug:
    """Annotation of a field that takes a component of a kind, one or (`many`) several in a row.

    The field accepts the object itself or, from TOML, a table with a `type`. With `many`, annotate
    `X | tuple[X, ...]`: a tuple always comes out, of one if one was given.
    """

    def __init__(self, kind: str, many: bool = False) -> None:
        self.kind, self.many = kind, many

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        self.base: type = get_args(source)[0] if self.many else source
        one = core_schema.no_info_plain_validator_function(self._one)
        if not self.many:
            return one
        return core_schema.no_info_before_validator_function(
            self._several, core_schema.tuple_variable_schema(one, strict=False)
        )

    def _several(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            if not value:  # not by a least length of the tuple: it would also count each item that is wrong
                raise PydanticCustomError("none_given", "expected at least one")
            return value
        return (value,)

    def _one(self, value: Any) -> Any:
        if isinstance(value, self.base):
            return value
        table = components(self.kind)
        if not isinstance(value, dict):
            name = value if isinstance(value, str) and value in table else next(iter(table))
            example = f'{{type="{name}"}} (in Python {name}())'
            raise PydanticCustomError(
                "wrong_component",
                "expected settings of {kind}, such as {example}, got {got}",
                {"kind": _article(self.kind), "example": example, "got": repr(value)[:80]},
            )
        given = dict(value)
        name = given.pop("type", None)
        if name not in table:
            hint = did_you_mean(str(name), table)
            message = f"no 'type'{hint}" if name is None else f"no {self.kind} is called '{name}'{hint}"
            raise PydanticCustomError("unknown_type", "{message}", {"message": message})
        return create(table[name], given)


class Section:
    """Annotation of a field that is a settings object of one fixed class, written in TOML as a table without `type`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def one(value: Any) -> Any:
            if isinstance(value, source):
                return value
            if not isinstance(value, dict):
                raise PydanticCustomError(
                    "not_a_table",
                    "expected {name}, or a table of its settings ({keys}), got {got}",
                    {
                        "name": _article(source.__name__),
                        "keys": ", ".join(f.name for f in fields(source)),
                        "got": repr(value)[:80],
                    },
                )
            return create(source, value)

        return core_schema.no_info_plain_validator_function(one)


class Adjustable:
    """Annotation of a field with another value of which trained weights still mean the same, such as dropout: what was trained
    with one may be trained further with another."""


Rate: TypeAlias = Annotated[float, Field(ge=0, lt=1), Adjustable()]
"""A share below one, such as of dropout."""


def alike(one: Any, other: Any) -> bool:
    """Whether two settings differ in nothing but what is `Adjustable` (or was learnt, and is kept in a file)."""
    return bool(settings_of(one, adjustable=False) == settings_of(other, adjustable=False))


def chosen(value: Any) -> set[str]:
    """The names of the fields of settings that are not as by default."""
    checked: dict[str, FieldInfo] = type(value).__pydantic_fields__
    return {
        name for name, field in checked.items() if getattr(value, name) != field.get_default(call_default_factory=True)
    }


def settings_of(value: Any, adjustable: bool = True) -> Any:
    """The plain dictionaries, lists and scalars that TOML stores, from which `Plug` and `Section` make equal objects.

    Fields that are None are left out (TOML has no null; None is always the default of such a field).

    Args:
        adjustable: Whether `Adjustable` fields are wanted.
    """
    if is_dataclass(value) and not isinstance(value, type):
        table = {"type": type(value).__name__} if getattr(value, "is_component", False) else {}
        checked: dict[str, FieldInfo] = type(value).__pydantic_fields__  # type: ignore[attr-defined]
        for name, field in checked.items():
            item = getattr(value, name)
            wanted = adjustable or not any(isinstance(mark, Adjustable) for mark in field.metadata)
            if wanted and item is not None and not isinstance(item, bytes):  # what was learnt is kept in a file
                table[name] = settings_of(item, adjustable)
        return table
    if isinstance(value, tuple | list):
        items = [settings_of(v, adjustable) for v in value]
        return items[0] if len(items) == 1 and isinstance(items[0], dict) and "type" in items[0] else items
    return value


def differences(before: Any, now: Any, separator: str = ".", path: str = "") -> list[str]:
    """What differs between two tables, one sentence each, with the keys of the inner tables joined to a path."""
    if isinstance(before, dict) and isinstance(now, dict):
        inner = f"{path}{separator}" if path else ""
        keys = dict.fromkeys([*before, *now])
        return [d for key in keys for d in differences(before.get(key), now.get(key), separator, f"{inner}{key}")]
    return [] if before == now else [f"{path} was {_short(before)}, now it is {_short(now)}"]


def _short(value: Any) -> str:
    return "absent" if value is None else f"{value!r:.100}"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIO' else 'a'} {noun}"
