"""Type checkers hold the modes to their interface; this holds the interface to what the modes have, and to words."""

import inspect

import pytest
from pointsman.proxy import mode
from pointsman.proxy.loop import FamilyLoop
from pointsman.proxy.mode import Drains, Engine, Leaving, Loop, Mode
from pointsman.proxy.modes import MODES, IptablesEngine, IpvsEngine

KINDS = [
    *((Mode, type(one)) for one in MODES.values()), (Engine, IptablesEngine), (Engine, IpvsEngine), (Loop, FamilyLoop),
]


def methods(kind: type) -> dict[str, object]:
    found = (entry for base in kind.__mro__ for entry in vars(base).items())
    return {name: value for name, value in found if not name.startswith("_") and inspect.isfunction(value)}


@pytest.mark.parametrize(("interface", "kind"), KINDS, ids=lambda kind: kind.__name__)
def test_whoever_implements_an_interface_has_its_methods_with_its_parameters(interface: type, kind: type) -> None:
    wanted = methods(interface)
    assert wanted
    for name, method in wanted.items():
        found = getattr(kind, name)
        assert list(inspect.signature(found).parameters) == list(inspect.signature(method).parameters), name
        assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(method), name


def test_what_drains_is_part_of_an_engine_and_of_a_mode_that_leaves() -> None:
    for kind in (Engine, Leaving):
        assert set(methods(Drains)) < set(methods(kind))


def test_a_mode_can_be_described_without_a_configuration() -> None:
    assert inspect.signature(Mode.text).parameters["config"].default is mode.DEFAULTS
