"""What the metrics server answers beside /metrics."""

import json

import pytest
from msgspec import structs
from pointsman.proxy.config import Config
from pointsman.proxy.health import FamilyHealth, Health
from pointsman.proxy.metrics_server import METRICS_TYPE, Indicators, MetricsServer, configz, flagz
from pointsman.proxy.servers import JSON, TEXT, Answer, Question
from pointsman.routing.route import Family

CONFIG = Config(cluster_cidr=("10.244.0.0/16", "fd00:10:244::/56"), hostname_override="n1", feature_gates=(("ComponentFlagz", True),))


class Scraper:
    """A scrape that costs nothing."""

    async def scrape(self) -> bytes:
        return b"everything\n"


def server(**settings: object) -> MetricsServer:
    return MetricsServer(structs.replace(CONFIG, **settings), Scraper(), lambda: Health({}, eligible=True, timeout=60))


async def ask(one: MetricsServer, path: str) -> Answer:
    found = one.server().paths[path](Question("GET", path))
    return found if isinstance(found, Answer) else await found


async def test_it_answers_where_kube_proxy_does() -> None:
    assert await ask(server(), "/metrics") == Answer(200, b"everything\n", METRICS_TYPE)
    assert await ask(server(), "/healthz") == Answer(200, b"ok", TEXT)
    assert await ask(server(mode="ipvs"), "/proxyMode") == Answer(200, b"ipvs", TEXT)
    assert server().server().address == "127.0.0.1:10249"
    assert server(metrics_bind_address="").server().address == ""


async def test_configz_is_the_configuration_in_force() -> None:
    answer = await ask(server(), "/configz")
    assert answer.headers == JSON
    found = json.loads(answer.body)
    ours = found["kubeproxy.config.k8s.io"]
    assert (ours["kind"], ours["clusterCIDR"], ours["hostnameOverride"]) == (
        "KubeProxyConfiguration", "10.244.0.0/16,fd00:10:244::/56", "n1",
    )  # fmt: skip
    assert found["pointsman.dev"]["kind"] == "PointsmanConfiguration"
    assert configz(CONFIG) == answer.body


@pytest.mark.parametrize("path", ["/debug/pprof/", "/debug/pprof/profile", "/debug/flags/v"])
def test_profiling_is_there_only_where_it_is_asked_for(path: str) -> None:
    assert path not in server().server().paths
    assert path in server(enable_profiling=True).server().paths


async def test_flagz_and_statusz_are_there_unless_their_gates_are_off() -> None:
    for off in ((("ComponentFlagz", False), ("ComponentStatusz", False)), (("AllBeta", False),)):
        assert not {"/flagz", "/statusz"} & set(server(feature_gates=off).server().paths)
    assert {"/flagz", "/statusz"} < set(server(feature_gates=()).server().paths)
    assert b"cluster-cidr=10.244.0.0/16,fd00:10:244::/56\n" in (await ask(server(), "/flagz")).body
    lines = flagz(CONFIG).splitlines()
    assert {"config-sync-period=15m0s", "v=0"} < set(lines)
    assert len([line for line in lines if line.startswith("iptables-sync-period=")]) == 1
    assert "feature-gates=ComponentFlagz=true" in flagz(CONFIG)
    status = (await ask(server(feature_gates=(("ComponentStatusz", True),)), "/statusz")).body.decode()
    assert "kube-proxy statusz" in status
    assert "/metrics" in status


def test_slis_tell_what_holds_now_and_how_often_it_did() -> None:
    late = Health({Family.IPV4: FamilyHealth(1.0, 61.0), Family.IPV6: FamilyHealth(1.0)}, eligible=False, timeout=60)
    fine = Health({Family.IPV4: FamilyHealth(1.0)}, eligible=True, timeout=60)
    answers = [fine, late, late]
    indicators = Indicators(lambda: answers.pop(0))
    for _ in range(3):
        text = indicators.answer(Question()).body.decode()
    assert 'kubernetes_healthcheck{name="IPv4",type="livez"} 0\n' in text
    assert 'kubernetes_healthcheck{name="IPv6",type="livez"} 1\n' in text
    assert 'kubernetes_healthcheck{name="node-eligible",type="healthz"} 0\n' in text
    assert 'kubernetes_healthchecks_total{name="IPv4",status="success",type="livez"} 1\n' in text
    assert 'kubernetes_healthchecks_total{name="IPv4",status="error",type="livez"} 2\n' in text
