"""The shop as the demonstration reads it, and what its nodes make of it."""

from pathlib import Path

import pytest
from pointsman.proxy.demo import agents, manifests, scene
from pointsman.routing.build import build
from pointsman.routing.oracle import Oracle


@pytest.fixture(scope="session")
def snapshot():
    return manifests.load(manifests.SHOP)


@pytest.fixture(scope="session")
def node_facts(snapshot):
    def of(node):
        config = agents.settings(Path("/nowhere"), Path("/nowhere/manifests"), node, "iptables", "legacy")
        return agents.facts(config, snapshot, scene.TOPOLOGY)

    return of


@pytest.fixture(scope="session")
def routing(snapshot, node_facts):
    return build(snapshot, node_facts(scene.HOME))


@pytest.fixture(scope="session")
def oracle(routing, node_facts):
    return Oracle(routing, node_facts(scene.HOME))


@pytest.fixture(scope="session")
def cases(snapshot, routing):
    return scene.cases(snapshot, routing)


@pytest.fixture
def find(cases):
    """Return the one case with a Service port, a kind of frontend and the beginning of the sender's words, in IPv4."""

    def one(subject, kind, sender):
        about = [case for case in cases if case.family.value == "IPv4" and case.subject == subject]
        [found] = [case for case in about if case.frontend.startswith(kind) and case.sender.words.startswith(sender)]
        return found

    return one
