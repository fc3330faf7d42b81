import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from pointsman.proxy import config_document
from pointsman.proxy.config import MODES, SCHEDULERS, Config
from pointsman.proxy.config_file import read

PERIODS = st.integers(1, 10**6).map(lambda millis: millis / 1000)
CONFIGS = st.builds(
    Config,
    mode=st.sampled_from(MODES),
    cluster_cidr=st.sampled_from([(), ("10.0.0.0/8",), ("10.0.0.0/8", "fd00::/64")]),
    node_port_addresses=st.sampled_from([(), ("primary",), ("10.0.0.0/8", "fd00::/64")]),
    masquerade_bit=st.integers(0, 31),
    localhost_node_ports=st.booleans(),
    sync_period=PERIODS,
    min_sync_period=PERIODS,
    ipvs_scheduler=st.sampled_from(SCHEDULERS),
    kube_api_qps=st.sampled_from([0.5, 5.0, 100.0]),
    conntrack_max_per_core=st.integers(0, 10**6),
    feature_gates=st.sampled_from([(), (("A", True), ("B", False))]),
    takeover=st.booleans(),
    external_ips=st.sampled_from(["allow", "deny"]),
    ipvs_drain_cap=PERIODS,
)


@settings(max_examples=25, deadline=None)
@given(CONFIGS)
def test_proc_06_a_file_that_is_written_and_read_says_the_same(config: Config) -> None:
    content = read(config_document.text(config).encode())
    assert (content.problems, content.remarks) == ((), ())
    assert structs.replace(Config(), **{field: given.value for field, given in content.values.items()}) == config
    assert config_document.lost(config) == ()


def test_kube_proxys_document_is_complete_and_has_its_defaults() -> None:
    document = config_document.kube_proxy(Config())
    assert document["apiVersion"] == "kubeproxy.config.k8s.io/v1alpha1"
    assert document["kind"] == "KubeProxyConfiguration"
    assert document["iptables"] == {
        "masqueradeBit": 14, "masqueradeAll": False, "localhostNodePorts": True, "syncPeriod": "30s", "minSyncPeriod": "1s",
    }
    assert document["conntrack"] == {
        "maxPerCore": 32768, "min": 131072, "tcpEstablishedTimeout": "24h0m0s", "tcpCloseWaitTimeout": "1h0m0s",
        "tcpBeLiberal": False, "udpTimeout": "0s", "udpStreamTimeout": "0s",
    }
    assert document["clientConnection"] == {
        "acceptContentTypes": "", "kubeconfig": "", "contentType": "application/vnd.kubernetes.protobuf", "qps": 5, "burst": 10,
    }
    assert document["nodePortAddresses"] is None
    assert document["configSyncPeriod"] == "15m0s"
    assert document["healthzBindAddress"] == "0.0.0.0:10256"
    assert set(document["winkernel"]) >= {"enableDSR", "sourceVip"}  # type: ignore[arg-type]


def test_our_document_is_left_out_while_it_says_nothing() -> None:
    assert "PointsmanConfiguration" not in config_document.text(Config(mode="ipvs"))
    documents = list(yaml.safe_load_all(config_document.text(Config(takeover=False))))
    assert [one["kind"] for one in documents] == ["KubeProxyConfiguration", "PointsmanConfiguration"]
    assert documents[1]["takeover"] is False


def test_what_a_file_cannot_say_is_known() -> None:
    assert config_document.lost(Config(healthz_bind_address="", min_sync_period=0.0)) == ("healthzBindAddress", "iptables.minSyncPeriod")
