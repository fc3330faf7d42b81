"""What dashboards and alerts made for CoreDNS and NodeLocal DNSCache ask for is there: each selector finds series in a real scrape.

The tables say which metrics they select by which labels, and by which they group: facts about what is in use. Labels that Prometheus adds
(job, instance, pod, cluster) are no part of a scrape; the chart's PodMonitor sets what they look for.
"""

import asyncio
import re
import socket
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import dns.message
import dns.rcode
from fakes import dns as fake
from pointsman.proxy.dns.reading import Origin, Reading
from pointsman.proxy.dns.service import DnsService, Settings
from pointsman.proxy.dns.setup import Setup
from pointsman.proxy.dns.sockets import Place
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.dns.wishes import wishes
from prometheus_client.parser import text_string_to_metric_families as parse

PATIENCE = 60.0
FORWARD = {"proxy_name": "forward"}
MIXIN = (
    ("coredns_build_info", {}, ()),
    ("coredns_panics_total", {}, ()),
    ("coredns_dns_responses_total", {}, ("rcode",)),
    ("coredns_dns_responses_total", {"rcode": "SERVFAIL"}, ()),
    ("coredns_dns_request_duration_seconds_bucket", {}, ("server", "zone", "le")),
    ("coredns_dns_requests_total", {}, ("type",)),
    ("coredns_dns_requests_total", {}, ("zone",)),
    ("coredns_forward_responses_total", {}, ("rcode",)),
    ("coredns_forward_responses_total", {"rcode": "SERVFAIL"}, ()),
    ("coredns_forward_requests_total", {}, ("to",)),
    ("coredns_forward_request_duration_seconds_bucket", {}, ("to", "le")),
    ("coredns_forward_healthcheck_failures_total", {}, ("to",)),
    ("coredns_forward_healthcheck_broken_total", {}, ()),
    ("coredns_kubernetes_dns_programming_duration_seconds_bucket", {}, ("service_kind", "le")),
    ("coredns_plugin_enabled", {}, ("name",)),
    ("coredns_dns_request_size_bytes_bucket", {}, ("server", "zone", "proto", "le")),
    ("coredns_dns_response_size_bytes_bucket", {}, ("server", "zone", "proto", "le")),
    ("coredns_cache_hits_total", {}, ("type",)),
    ("coredns_cache_misses_total", {}, ()),
    ("coredns_cache_entries", {}, ("type",)),
    ("process_resident_memory_bytes", {}, ()),
    ("process_cpu_seconds_total", {}, ()),
)
"""coredns-mixin: its dashboard, its alerts, and those about forward."""
BY_15762 = (
    ("coredns_build_info", {}, ()),
    ("process_cpu_seconds_total", {}, ()),
    ("process_resident_memory_bytes", {}, ()),
    ("coredns_dns_requests_total", {"proto": "udp"}, ()),
    ("coredns_dns_requests_total", {"proto": "tcp"}, ()),
    ("coredns_dns_requests_total", {}, ("type",)),
    ("coredns_dns_request_size_bytes_sum", {"proto": "udp"}, ("proto",)),
    ("coredns_dns_request_size_bytes_count", {"proto": "udp"}, ("proto",)),
    ("coredns_dns_responses_total", {}, ("rcode",)),
    ("coredns_proxy_request_duration_seconds_count", FORWARD, ()),
    ("coredns_proxy_request_duration_seconds_count", {**FORWARD, "rcode": "SERVFAIL|REFUSED"}, ("rcode",)),
    ("coredns_cache_hits_total", {}, ("type",)),
    ("coredns_cache_misses_total", {}, ()),
    ("coredns_cache_entries", {}, ("type",)),
    ("coredns_dns_request_duration_seconds_bucket", {}, ("le",)),
    ("coredns_dns_request_size_bytes_bucket", {"le": "[^0].*"}, ("le",)),
    ("coredns_dns_response_size_bytes_bucket", {"le": "[^0].*"}, ("le",)),
)
"""Grafana 15762, of dotdc/grafana-dashboards-kubernetes."""
BY_14981 = (
    ("coredns_dns_requests_total", {}, ("proto",)),
    ("coredns_dns_requests_total", {}, ("type",)),
    ("coredns_dns_requests_total", {}, ("zone",)),
    ("coredns_dns_do_requests_total", {}, ()),
    ("coredns_dns_request_size_bytes_bucket", {"proto": "udp"}, ("le", "proto")),
    ("coredns_dns_request_size_bytes_bucket", {"proto": "tcp"}, ("le", "proto")),
    ("coredns_dns_responses_total", {}, ("rcode",)),
    ("coredns_dns_request_duration_seconds_bucket", {}, ("le",)),
    ("coredns_dns_response_size_bytes_bucket", {"proto": "udp"}, ("le", "proto")),
    ("coredns_dns_response_size_bytes_bucket", {"proto": "tcp"}, ("le", "proto")),
    ("coredns_cache_entries", {}, ("type",)),
    ("coredns_cache_hits_total", {}, ("type",)),
    ("coredns_cache_misses_total", {}, ()),
)
"""Grafana 14981 and 5926 as far as they ask for names of CoreDNS 1.7 and later, and the dashboard of kube-prometheus-stack."""
ALERTS = (
    ("coredns_panics_total", {}, ()),
    ("coredns_reload_failed_total", {}, ()),
    ("coredns_forward_max_concurrent_rejects_total", {}, ()),
    ("coredns_health_request_failures_total", {}, ()),
    ("coredns_health_request_duration_seconds_bucket", {}, ("le",)),
    ("coredns_proxy_healthcheck_failures_total", FORWARD, ("to",)),
    ("coredns_proxy_request_duration_seconds_bucket", FORWARD, ("to", "le")),
    ("coredns_cache_requests_total", {}, ()),
    ("process_open_fds", {}, ()),
    ("process_max_fds", {}, ()),
)
"""Alerts that many collections have, and what operators of shoots and managed clusters keep."""
NODE_LOCAL = tuple(
    ("coredns_nodecache_setup_errors_total", {"errortype": one}, ("errortype",))
    for one in ("iptables", "iptables_lock", "interface_add", "interface_check", "configmap")
)
"""Alerts of NodeLocal DNSCache."""
USERS = {"coredns-mixin": MIXIN, "15762": BY_15762, "14981": BY_14981, "alerts": ALERTS, "NodeLocal DNSCache": NODE_LOCAL}
EMPTY = ("go_goroutines", "coredns_dns_request_count_total", "coredns_kubernetes_rest_client_requests_total")
"""What stays empty, as docs/dns.md says: Go's runtime, names of before CoreDNS 1.7, Go's client of the API."""

COREFILE = """
down.test:53 {{
    errors
    forward . 127.0.0.1:{closed} {{
        health_check 0.5s
        max_fails 1
    }}
    prometheus 127.0.0.1:{metrics}
}}
.:53 {{
    errors
    health 127.0.0.1:{health}
    kubernetes cluster.local in-addr.arpa ip6.arpa
    prometheus 127.0.0.1:{metrics}
    forward . 127.0.0.1:{upstream}
    cache 30
    reload
}}
"""


class Upstream(fake.Everywhere):
    """A server that fails for some names."""

    def _answer(self, wire):
        asked = dns.message.from_wire(wire)
        if not str(asked.question[0].name).startswith("broken."):
            return super()._answer(wire)
        reply = dns.message.make_response(asked)
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply.to_wire()


def changed(port):
    """Return a headless Service and its slice as it is just now."""
    found = fake.endpoint_slice("shop", "db", ["10.244.1.9"], (("sql", "TCP", port),))
    found["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": datetime.now(UTC).isoformat()}
    return fake.service("shop", "db", ["None"]), found


@asynccontextmanager
async def resolver(tmp_path):
    """Run DNS of a folder of manifests, with an upstream; give the place of the resolver, and the port of its metrics."""
    ports = {name: fake.free_port() for name in ("metrics", "health", "closed", "upstream")}
    (tmp_path / "Corefile").write_text(COREFILE.format(**ports))
    folder = tmp_path / "manifests"
    folder.mkdir()
    fake.write(folder, "web", fake.namespace("shop"), fake.service("shop", "web", ["10.96.0.80"]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", ports["upstream"]))
        upstream = Upstream(bound, "192.0.2.1")
        telling = Telling()
        reading = Reading(Origin(manifests=str(folder)), telling)
        place = Place("127.0.0.1", fake.free_port(), 0)
        service = DnsService(Settings(corefile=str(tmp_path / "Corefile"), listen=place, setup=Setup(), read=reading.read), telling)
        await service.prepare()
        await reading.open(wishes(service.corefile))
        running = [asyncio.create_task(one) for one in (service.run(), reading.run())]
        try:
            async with asyncio.timeout(PATIENCE):
                while not service.serving:  # noqa: ASYNC110 - another process begins
                    await asyncio.sleep(0.02)
            yield place, ports["metrics"], folder
        finally:
            for one in running:
                one.cancel()
            await asyncio.wait(running)
            await service.close()
            upstream.close()


async def over_tcp(place, name):
    reader, writer = await asyncio.open_connection(place.address, place.port)
    wire = fake.query(name).to_wire()
    writer.write(len(wire).to_bytes(2, "big") + wire)
    size = int.from_bytes(await reader.readexactly(2), "big")
    reply = dns.message.from_wire(await reader.readexactly(size))
    writer.close()
    return fake.values(reply)


async def asked(place, folder):
    """Ask for one of each: what is here, is not, lies elsewhere, fails there, has no upstream."""
    server = (place.address, place.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)

        async def says(name, qtype="A"):
            return fake.values(await fake.ask(client, server, name, qtype, seconds=PATIENCE))

        assert await says("web.shop.svc.cluster.local") == ["10.96.0.80"]
        assert await says("cart.shop.svc.cluster.local") == "NXDOMAIN"
        assert await says("web.shop.svc.cluster.local", "AAAA") == "NOERROR"
        for _ in range(3):
            assert await says("here.example.org") == ["192.0.2.1"]
            assert await says("here.example.org", "AAAA") == "NOERROR"
        assert await says("broken.example.org") == "SERVFAIL"
        assert await says("some.down.test") == "SERVFAIL"
        assert await over_tcp(place, "web.shop.svc.cluster.local") == ["10.96.0.80"]
        signed = dns.message.make_query("here.example.org", "A", want_dnssec=True)
        client.sendto(signed.to_wire(), server)
        fake.write(folder, "db", *changed(5432))
        async with asyncio.timeout(PATIENCE):
            while await says("db.shop.svc.cluster.local") == "NXDOMAIN":  # noqa: ASYNC110 - another process is told
                await asyncio.sleep(0.02)


async def scraped(port):
    """Return the series of a scrape: name, labels, value."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    body = (await reader.read()).decode().partition("\r\n\r\n")[2]
    writer.close()
    return [sample for family in parse(body) for sample in family.samples]


def found(series, name, labels, grouped):
    """Return whether a selector finds series that can be grouped so."""
    return any(
        one.name == name
        and all(re.fullmatch(pattern, one.labels.get(label, "")) for label, pattern in labels.items())
        and all(label in one.labels for label in grouped)
        for one in series
    )


async def test_obs_25_every_selector_of_dashboards_and_alerts_finds_series(tmp_path):
    async with resolver(tmp_path) as (place, port, folder):
        await asked(place, folder)
        deadline = time.monotonic() + PATIENCE
        while True:  # the own health is asked once a second, upstreams are probed twice a second
            series = await scraped(port)
            missing = {user: lost for user, wanted in USERS.items() if (lost := [one for one in wanted if not found(series, *one)])}
            events = [one.value for one in series if one.name == "coredns_forward_healthcheck_failures_total"]
            if (not missing and any(events)) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
    assert missing == {}
    assert any(events)
    assert {one.name for one in series} & set(EMPTY) == set()


def test_selectors_are_evaluated_and_not_waved_through():
    series = [one for family in parse('# TYPE a counter\na_total{rcode="NXDOMAIN",to="x"} 1\n') for one in family.samples]
    assert found(series, "a_total", {"rcode": "NX.*"}, ("to",))
    assert not found(series, "a_total", {"rcode": "SERVFAIL"}, ())
    assert not found(series, "a_total", {}, ("zone",))
    assert not found(series, "b_total", {}, ())
