"""Which source the configuration asks for."""

import asyncio
import json

import pytest
from pointsman.kube.api import ApiSource
from pointsman.kube.changeover import Changeover
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.events import Batch, Replace
from pointsman.kube.manifests import ManifestSource
from pointsman.kube.objects import Kind
from pointsman.kube.resource import EVERYTHING, ROUTING
from pointsman.proxy.config import Config
from pointsman.proxy.source import Also, open_source


async def test_a_folder_wins(tmp_path):
    opened = await open_source(Config(manifests=str(tmp_path), kubeconfig="/nowhere"))
    assert isinstance(opened.source, ManifestSource)
    assert (opened.client, opened.described) == (None, str(tmp_path))
    await opened.aclose()


async def test_proc_08_otherwise_the_api_is_asked(tmp_path):
    (tmp_path / "kubeconfig").write_text(json.dumps({
        "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "http://10.0.0.1:8080"}}], "users": [{"name": "x", "user": {"token": "t"}}],
    }))
    opened = await open_source(Config(kubeconfig=str(tmp_path / "kubeconfig")))
    assert isinstance(opened.source, Changeover)
    assert opened.described == "http://10.0.0.1:8080"
    await opened.aclose()


@pytest.mark.parametrize(("mode", "every"), [("iptables", False), ("ipvs", True)])
async def test_pain_25_the_ipvs_mode_reads_all_nodes(mode, every, monkeypatch):
    asked = []

    class Source(ApiSource):
        def __init__(self, client, node_name, **options):
            asked.append(options)
            super().__init__(client, node_name, **options)

    monkeypatch.setattr("pointsman.proxy.source.ApiSource", Source)
    await (await open_source(Config(master="10.0.0.1:8080", mode=mode))).aclose()
    assert [options["all_nodes"] for options in asked] == [every]


async def test_rec_07_dns_reads_what_routing_leaves_out(monkeypatch):
    asked = []

    class Source(ApiSource):
        def __init__(self, client, node_name, **options):
            asked.append(options)
            super().__init__(client, node_name, **options)

    monkeypatch.setattr("pointsman.proxy.source.ApiSource", Source)
    config = Config(master="10.0.0.1:8080")
    for also in (Also(), Also(unfiltered=True, all_pods=True)):
        await (await open_source(config, also=also)).aclose()
    assert [options["selectors"] for options in asked] == [ROUTING, EVERYTHING]
    assert [options["all_pods"] for options in asked] == [False, True]


@pytest.fixture
def made(monkeypatch):
    """Return the sources that are opened: instead of the API's, each delivers an empty list and no more."""
    found = []

    class Source(ApiSource):
        def __init__(self, client, node_name, **options):
            self.options = options
            found.append(self)

        async def run(self, sink):
            sink(Batch((Replace(Kind.SERVICE, ()),)))
            await asyncio.Event().wait()

        async def elsewhere(self):
            return frozenset({self})

    monkeypatch.setattr("pointsman.proxy.source.ApiSource", Source)
    return found


async def test_obs_50_more_is_read_by_a_source_that_follows(made):
    opened = await open_source(Config(master="10.0.0.1:8080"), also=Also(unfiltered=True))
    heard = []
    running = asyncio.create_task(opened.source.run(heard.append))
    await opened.reread(Also(unfiltered=True, all_pods=True, imports=True))
    assert [(one.options["all_pods"], one.options["imports"]) for one in made] == [(False, False), (True, True)]
    assert heard[-1].events
    running.cancel()
    await asyncio.wait({running})
    await opened.aclose()


async def test_in_01_the_source_that_delivers_says_which_services_are_of_others(made):
    opened = await open_source(Config(master="10.0.0.1:8080"))
    running = asyncio.create_task(opened.source.run(lambda _: None))
    assert await opened.elsewhere() == {made[0]}
    await opened.reread(Also(imports=True))
    assert await opened.elsewhere() == {made[1]}
    running.cancel()
    await asyncio.wait({running})
    await opened.aclose()


async def test_a_master_alone_will_do():
    opened = await open_source(Config(master="10.0.0.1:8080"))
    assert opened.described == "http://10.0.0.1:8080"
    await opened.aclose()


async def test_nobody_to_ask_is_told(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiConfigError, match="--kubeconfig FILE"):
        await open_source(Config())
