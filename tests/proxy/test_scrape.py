"""A scrape never holds the event loop for long, and never fails because a part is missing."""

import asyncio
import time

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.kube.events import Batch
from pointsman.proxy.scrape import Scraper

from .test_agent import SERVICES, SLICES, agent
from .views import large


def scraper(**settings):
    one, _ = agent(**settings)
    one.receive(Batch((SERVICES, SLICES)))
    return Scraper(one), one


async def test_a_scrape_tells_of_the_agent() -> None:
    found, one = scraper()
    one.checks.counts["livez", 200] += 1
    text = (await found.scrape()).decode()
    assert 'kubeproxy_proxy_livez_total{code="200"} 1.0' in text
    assert 'pointsman_service_ports{ip_family="IPv4"} 1.0' in text
    assert 'kubeproxy_sync_proxy_rules_iptables_total{ip_family="IPv4",table="nat"} 7.0' in text
    assert "kubeproxy_iptables_ct_state_invalid_dropped_packets_total 5.0" in text
    assert 'pointsman_objects{kind="Service"} 1.0' in text


async def test_met_12_the_kernels_counters_are_read_seldom_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    found, one = scraper()
    readings = []

    async def counted():
        readings.append(time.monotonic())
        return {}

    monkeypatch.setattr(one.parts.engine, "counted", counted)
    await asyncio.gather(*(found.scrape() for _ in range(5)))
    assert len(readings) == 1


async def test_counters_that_cannot_be_read_are_told_once_and_the_rest_is_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found, one = scraper()

    async def counted():
        raise KernelError(ErrorKind.TIMEOUT, "did not end", "iptables-save")

    monkeypatch.setattr(one.parts.engine, "counted", counted)
    monkeypatch.setattr("pointsman.proxy.scrape.COUNTERS_EVERY", -1.0)
    for _ in range(2):
        assert b"pointsman_service_ports" in await found.scrape()
    assert caplog.text.count("counters cannot be read") == 1


async def test_with_ten_thousand_services_the_event_loop_is_hardly_held() -> None:
    """Measured as the loop's own CPU time, which other programs on this machine do not change."""
    found, one = scraper()
    view = large(10_000, 10)
    one.snapshot, one.routing = view.snapshot, view.routing
    await found.scrape()
    held = []
    for revision in range(5):
        one.routing = type(view.routing)(revision, *(getattr(view.routing, name) for name in view.routing.__struct_fields__[1:]))
        began = time.thread_time()
        made = found.picture()
        held.append(time.thread_time() - began)
        assert made.routing_census()["ports IPv4"] == 10_000
    assert min(held) < 0.02
