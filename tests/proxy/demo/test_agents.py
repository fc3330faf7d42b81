"""The agents' settings: the command line and the facts come from one value."""

from pathlib import Path

import click
import pytest
from pointsman.proxy import flags
from pointsman.proxy.cli.run import command
from pointsman.proxy.demo import agents
from pointsman.proxy.demo.scene import TOPOLOGY
from pointsman.routing.node import DetectLocal
from pointsman.routing.route import Family


@pytest.fixture
def config(tmp_path):
    (tmp_path / "manifests").mkdir()
    return agents.settings(tmp_path, tmp_path / "manifests", "n2", "iptables", "nft")


def test_the_command_line_means_the_configuration(config):
    [name, *arguments] = agents.arguments(config)
    assert name == "run"
    context = command.make_context("run", arguments)
    assert isinstance(context, click.Context)
    assert flags.load(context, context.params, lambda _: ()).config == config


def test_facts_are_those_of_the_laboratory(config, snapshot):
    facts = agents.facts(config, snapshot, TOPOLOGY)
    assert facts.name == "n2"
    assert facts.zone == "west-1b"
    assert facts.node_ips == {Family.IPV4: "192.168.50.2", Family.IPV6: "fd00:50::2"}
    assert "10.244.2.1" in facts.local_addresses[Family.IPV4]
    assert facts.detectors[Family.IPV6].mode is DetectLocal.CLUSTER_CIDR


def test_each_agent_has_a_log_of_its_own(config):
    class Nowhere:
        pass

    running = agents.Agents(Nowhere(), {"n2": config})
    assert running.log("n2") == Path(config.socket).with_suffix(".log")


@pytest.mark.kernel
async def test_an_agent_that_cannot_start_shows_its_log(tmp_path):
    from pointsman.proxy.demo.lab import Laboratory  # noqa: PLC0415

    config = agents.settings(tmp_path, tmp_path / "missing", "n1", "iptables", "nft")
    async with Laboratory(TOPOLOGY, serve=False) as lab:
        running = agents.Agents(lab, {"n1": config})
        try:
            with pytest.raises(agents.AgentError, match=r"(?s)n1 ended with status 2.*manifests"):
                await running.start()
        finally:
            await running.stop()
