"""Planted faults: each is put into the kernel by the tools that people have, and explain, diff and doctor each name it."""

import asyncio

import pytest
from fakes.planted import invoke, plant, prepare, program
from fakes.scratch import lock_file, namespace
from pointsman.proxy.demo.faults import of

MODES = [
    *(("iptables", variant, fault) for variant in ("nft", "legacy") for fault in of("iptables")),
]
IPVS = [("ipvs", "legacy", fault) for fault in of("ipvs")]


@pytest.fixture
def node(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        yield


def examine(mode, variant, fault):
    asyncio.run(program(mode, variant))
    source, target, protocol = fault.question
    question = ("--from", source, "--to", target, "--protocol", protocol, "--family", "IPv4")
    status, said = invoke("explain", mode, variant, *question)
    assert status == 0, said
    assert "verdict: works" in said
    assert invoke("diff", mode, variant)[0] == 0

    plant(fault, variant)
    status, said = invoke("explain", mode, variant, *question)
    verdict = said[said.index("verdict: ") :]
    assert status == 1, said
    assert "verdict: broken" in verdict, said
    assert fault.named["explain"] in verdict, said
    status, said = invoke("diff", mode, variant)
    assert fault.named["diff"] in said
    assert status == (0 if fault.name == "policy-drop" else 1)
    _, said = invoke("doctor", mode, variant)
    assert fault.named["doctor"] in said, said


@pytest.mark.kernel
@pytest.mark.parametrize(("mode", "variant", "fault"), MODES, ids=lambda one: getattr(one, "name", one))
def test_a_planted_fault_is_named(node, mode, variant, fault):
    examine(mode, variant, fault)


@pytest.mark.kernel
@pytest.mark.ipvs
@pytest.mark.parametrize(("mode", "variant", "fault"), IPVS, ids=lambda one: getattr(one, "name", one))
def test_a_planted_fault_is_named_in_ipvs_mode(node, mode, variant, fault):
    examine(mode, variant, fault)
