"""Components: tables, plugs, sections, and that settings survive as plain tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace
from importlib.metadata import EntryPoint
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from korseq import registry
from korseq.config import Config
from korseq.data import DataSettings, SequenceOptions
from korseq.errors import ConfigError
from korseq.nn.search import Beam
from korseq.registry import (
    ROOMS,
    Adjustable,
    Plug,
    Rate,
    Section,
    alike,
    component,
    components,
    create,
    settings,
    settings_of,
)
from korseq.text import UserWord
from korseq.training.settings import Training


class Animal:
    """What is plugged in."""


@component
class Dog(Animal):
    age: int = 1
    name: str | None = None
    weight: float = Field(default=1.5, gt=0)


@component
class Cat(Animal):
    lives: int = Field(default=9, ge=0)


@settings
class Owner:
    name: str
    house: bool = False


@settings
class Home:
    pet: Annotated[Animal, Plug("animal")]
    owner: Annotated[Owner, Section()] = Owner("아무개")
    guests: Annotated[Animal | tuple[Animal, ...], Plug("animal", many=True)] = (Cat(),)


@pytest.fixture(autouse=True)
def animals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kind of component whose room is this module."""
    room = type("Room", (), {"COMPONENTS": (Dog, Cat)})
    real = registry.import_module
    monkeypatch.setitem(ROOMS, "animal", "the.zoo")
    monkeypatch.setattr(registry, "import_module", lambda name: room if name == "the.zoo" else real(name))
    components.cache_clear()
    yield
    components.cache_clear()


def mistakes(cls: type, given: dict[str, Any]) -> dict[str, str]:
    """Dotted path → message."""
    with pytest.raises(ValidationError) as caught:
        create(cls, given)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def test_a_table_makes_the_object_that_python_makes() -> None:
    table = {"pet": {"type": "Dog", "age": 3}, "owner": {"name": "철수"}, "guests": [{"type": "Cat"}, {"type": "Dog"}]}
    assert create(Home, table) == Home(Dog(3), Owner("철수"), (Cat(), Dog()))
    assert table["pet"] == {"type": "Dog", "age": 3}  # what was given is left alone


def test_one_of_many_may_stand_alone() -> None:
    assert create(Home, {"pet": Dog(), "guests": {"type": "Dog"}}).guests == (Dog(),)
    assert Home(Dog(), guests=Dog()).guests == (Dog(),)
    assert Home(Dog(), guests=[Dog(), Cat()]).guests == (Dog(), Cat())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"pet": {"type": "Dog", "agee": 3}}, "pet.agee", "unknown key; did you mean 'age'?"),
        ({"pet": {"type": "Dgo"}}, "pet", "no animal is called 'Dgo'; did you mean 'Dog'?"),
        ({"pet": {"type": "{x}"}}, "pet", "no animal is called '{x}'; valid are: Cat, Dog"),
        ({"pet": {"age": 3}}, "pet", "no 'type'; valid are: Cat, Dog"),
        ({"pet": {"type": 3}}, "pet", "no animal is called '3'; valid are: Cat, Dog"),
        ({"pet": "Dog"}, "pet", "expected settings of an animal, such as {type=\"Dog\"} (in Python Dog()), got 'Dog'"),
        (
            {"pet": Owner("나")},
            "pet",
            "settings of an animal, such as {type=\"Dog\"} (in Python Dog()), got Owner(name='나'",
        ),
        ({"pet": {"type": "Dog", "age": "3"}}, "pet.age", "Input should be a valid integer"),
        ({"pet": {"type": "Dog", "age": 3.5}}, "pet.age", "Input should be a valid integer"),
        ({"pet": {"type": "Dog", "age": True}}, "pet.age", "Input should be a valid integer"),
        ({"pet": {"type": "Dog", "weight": "{1}"}}, "pet.weight", "Input should be a valid number"),
        ({"pet": {"type": "Dog", "weight": 0}}, "pet.weight", "Input should be greater than 0"),
        ({"pet": Dog(), "owner": {"name": "나", "house": 1}}, "owner.house", "Input should be a valid boolean"),
        ({"pet": Dog(), "owner": {"house": True}}, "owner.name", "missing; it has no default"),
        (
            {"pet": Dog(), "owner": "철수"},
            "owner",
            "expected an Owner, or a table of its settings (name, house), got '철수'",
        ),
        (
            {"pet": Dog(), "guests": [Cat(), {"type": "Cat", "lives": -1}]},
            "guests.1.lives",
            "greater than or equal to 0",
        ),
        ({"pet": Dog(), "guests": []}, "guests", "expected at least one"),
        ({"pet": Dog(), "gests": []}, "gests", "unknown key; did you mean 'guests'?"),
        ({}, "pet", "missing; it has no default"),
    ],
)
def test_mistakes_are_told_with_their_path(given: dict[str, Any], path: str, message: str) -> None:
    found = mistakes(Home, given)
    assert list(found) == [path]
    assert message in found[path]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dog(weight=0), "Dog.weight: Input should be greater than 0"),
        (lambda: Cat(-1), "Cat.lives: Input should be greater than or equal to 0"),
        (lambda: Cat(live=3), "Cat.live: unknown key; did you mean 'lives'?"),
        (lambda: Owner(), "Owner.name: missing; it has no default"),
        (
            lambda: replace(Dog(), age="3", wight=1.0),
            "Dog.age: Input should be a valid integer; Dog.wight: unknown key; did you",
        ),
        (
            lambda: Home("Cat"),
            "Home.pet: expected settings of an animal, such as {type=\"Cat\"} (in Python Cat()), got 'Cat'",
        ),
        (lambda: Home(Dog(), {"name": 3}), "Home.owner.name: Input should be a valid string"),
        (lambda: Beam(size=2, alternatives=2), "Beam: a beam of 2 finds no 2 alternatives"),
    ],
)
def test_mistakes_in_python_name_the_argument(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(
        Home,
        {
            "pet": {"type": "Dog", "age": "셋", "colour": "갈색"},
            "owner": {},
            "guests": [{"type": "Bird"}, {"type": "Cat", "lives": "많이"}],
            "street": 3,
        },
    )
    assert set(found) == {"pet.age", "pet.colour", "owner.name", "guests.0", "guests.1.lives", "street"}


def test_integers_are_numbers() -> None:
    assert create(Dog, {"weight": 3}).weight == 3.0


def test_settings_are_frozen_and_hashable() -> None:
    with pytest.raises(FrozenInstanceError):
        Dog().age = 2  # type: ignore[misc]
    assert len({Dog(), Dog(1), Dog(2)}) == 2


def test_tables_leave_out_what_is_none_and_name_what_can_be_swapped() -> None:
    home = Home(Dog(), Owner("나"), (Cat(), Dog(name="바둑이")))
    assert settings_of(home) == {
        "pet": {"type": "Dog", "age": 1, "weight": 1.5},
        "owner": {"name": "나", "house": False},
        "guests": [{"type": "Cat", "lives": 9}, {"type": "Dog", "age": 1, "name": "바둑이", "weight": 1.5}],
    }
    assert create(Home, settings_of(home)) == home


def test_one_swappable_of_many_stands_alone_in_a_table() -> None:
    assert settings_of(Home(Dog()))["guests"] == {"type": "Cat", "lives": 9}
    assert settings_of((Owner("나"),)) == [{"name": "나", "house": False}]


@component
class Horse(Animal):
    size: int = 2
    fed: Annotated[bool, Adjustable()] = False
    tired: Rate = 0.0


def test_what_may_be_adjusted_does_not_tell_settings_apart() -> None:
    assert alike(Home(Horse()), Home(Horse(fed=True, tired=0.5)))
    assert alike((Cat(), Horse()), [Cat(), Horse(tired=0.1)])
    assert not alike(Home(Horse()), Home(Horse(size=3)))
    assert not alike(Horse(), Cat())
    assert not alike((Horse(),), (Horse(), Horse()))
    assert settings_of(Horse(fed=True)) == {"type": "Horse", "size": 2, "fed": True, "tired": 0.0}


# Other packages -----------------------------------------------------------------------------------------------------


@component
class Bird(Animal):
    wings: int = 2


@dataclass
class Stone:
    weight: int = 1


Impostor = component(type("Dog", (Animal,), {}))


def installed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    entry = EntryPoint(name, value, "korseq.animal")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])


@pytest.mark.parametrize("name", ["Bird", "bird"])
def test_another_packages_component_has_the_name_of_its_class(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, name, f"{__name__}:Bird")
    home = create(Home, {"pet": {"type": "Bird", "wings": 4}})
    assert type(home.pet).__name__ == "Bird"
    assert create(Home, settings_of(home)) == home


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package:Bird", "cannot be loaded"),
        (f"{__name__}:Dragon", "cannot be loaded"),
        (f"{__name__}:Stone", "is no component"),
        (f"{__name__}:Impostor", "has the name of another component"),
    ],
)
def test_broken_packages_are_named(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "Bird", value)
    with pytest.raises(ConfigError, match=message) as caught:
        create(Home, {"pet": {"type": "Cat"}})
    assert value in str(caught.value)


# korseq's own -------------------------------------------------------------------------------------------------------

LISTED = [(kind, cls) for kind in ROOMS for cls in components(kind).values()]
REQUIRED: dict[type, dict[str, Any]] = {UserWord: {"form": "코르섹"}}
ALL_SETTINGS = [cls for _, cls in LISTED] + [Training, DataSettings, SequenceOptions, UserWord]


def made(cls: type) -> Any:
    return cls(**REQUIRED.get(cls, {}))


def test_tables_list_every_component_under_its_name() -> None:
    components.cache_clear()
    assert {kind for kind, _ in LISTED} == set(ROOMS) - {"animal"}
    for kind, cls in LISTED:
        assert components(kind)[cls.__name__] is cls


@pytest.mark.parametrize("cls", ALL_SETTINGS, ids=lambda cls: cls.__name__)
def test_settings_survive_as_a_table(cls: type) -> None:
    value = made(cls)
    table = settings_of(value)
    assert table.pop("type", None) == (cls.__name__ if getattr(cls, "is_component", False) else None)
    assert create(cls, table) == value


@pytest.mark.parametrize("cls", [cls for _, cls in LISTED], ids=lambda cls: cls.__name__)
def test_dropout_of_listed_components_may_be_adjusted(cls: type) -> None:
    for name in (field.name for field in fields(cls) if field.name.endswith("dropout")):
        assert alike(made(cls), replace(made(cls), **{name: 0.25})), name


@pytest.mark.parametrize(("kind", "cls"), LISTED, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_listed_components_are_frozen_settings_with_a_docstring(kind: str, cls: type) -> None:
    assert is_dataclass(cls)
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")  # the dataclass's own
    assert hash(made(cls)) == hash(replace(made(cls)))
    assert mistakes(cls, {"no_such_key": 1})["no_such_key"].startswith("unknown key")


@pytest.mark.parametrize("cls", [*ALL_SETTINGS, Config], ids=lambda cls: cls.__name__)
def test_what_may_be_none_is_none_by_default(cls: type) -> None:
    # `settings_of` leaves None out, for TOML has no null: a default that is another value would come back instead.
    for field in fields(cls):
        if "None" in str(field.type):
            default = field.default
            default = getattr(default, "default", default)
            assert default is None, f"{cls.__name__}.{field.name}"
