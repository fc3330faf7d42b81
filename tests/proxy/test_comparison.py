import asyncio

import pytest
from fakes.planted import config, prepare, program
from fakes.scratch import lock_file, namespace, shell
from msgspec import structs
from pointsman.proxy import comparison
from pointsman.proxy.facts import Host
from pointsman.proxy.known import from_source
from pointsman.routing.route import Family


@pytest.mark.kernel
def test_a_whole_node_is_compared(monkeypatch, tmp_path):
    """Empty when all is well; objects, settings and flows when they are not; others' rules beside."""
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program("iptables", "nft"))
        known = from_source(config("iptables", "nft"))
        assert asyncio.run(comparison.compare(known)).differences == ()

        shell("sysctl -q -w net.ipv4.ip_forward=0; ipset del POINTSMAN-CLUSTER-IP 10.96.10.1; iptables-nft -A FORWARD -j DROP")
        found = asyncio.run(comparison.compare(known))
        assert [(one.family, one.subject, one.where.partition(":")[0]) for one in found.differences] == [
            ("IPv4", "shop/web:http tcp", "set POINTSMAN-CLUSTER-IP"), ("IPv4", "node", "sysctl net.ipv4.ip_forward"),
        ]  # fmt: skip
        assert found.differences[0].because == "no agent was asked"
        assert [one.text for one in found.beside] == ["iptables nft: filter FORWARD rule 5: -j DROP"]
        assert [one.subject for one in asyncio.run(comparison.compare(known, "shop/cart")).differences] == ["node"]


def test_pain_10_no_flow_is_judged_by_what_an_agent_has_not_read(monkeypatch):
    """Else every flow would go to a Service that is not there; the kernel is not even asked."""
    monkeypatch.setattr(comparison, "ConntrackKernel", None)
    known = from_source(config("iptables", "nft"), host=Host("n1", dict.fromkeys(Family, ())))
    unread = structs.replace(known, picture=structs.replace(known.picture, waiting_for=("EndpointSlice",)))
    assert asyncio.run(comparison.stale(unread, Family.IPV4)) == ()


@pytest.mark.kernel
def test_pain_6_udp_flows_to_endpoints_that_are_gone_are_told(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        known = from_source(config("iptables", "nft"))
        assert asyncio.run(comparison.stale(known, Family.IPV4)) == ()
        reply = "-r 10.244.2.99 -q 10.244.1.16 --reply-port-src 8125 --reply-port-dst 40000"
        shell(f"conntrack -I -p udp -s 10.244.1.16 -d 10.96.10.3 --sport 40000 --dport 8125 {reply} -t 600 --status SEEN_REPLY,DST_NAT")
        [found] = asyncio.run(comparison.stale(known, Family.IPV4))
    assert (found.subject, found.where) == ("monitoring/statsd udp", "conntrack stale-backend")
    assert "10.244.2.99:8125" in found.text
