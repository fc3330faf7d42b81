import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.proxy.config_file import FileContent, read

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
OURS = "apiVersion: pointsman.dev/v1alpha1\nkind: PointsmanConfiguration\n"

KUBEADM = HEAD + """\
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
"""
"""What kubeadm writes into its ConfigMap."""


def values(content: FileContent) -> dict[str, object]:
    return {field: given.value for field, given in content.values.items()}


def lines(remarks: tuple[object, ...]) -> list[str]:
    return [f"{one.line} {one.path}: {one.text}" for one in remarks]  # type: ignore[attr-defined]


def test_the_file_that_kubeadm_writes_says_little_and_nothing_is_wrong_with_it() -> None:
    content = read(KUBEADM.encode())
    assert (content.problems, content.remarks) == ((), ())
    said = {field: value for field, value in values(content).items() if value}
    assert said == {
        "bind_address": "0.0.0.0",
        "kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf",
        "cluster_cidr": ("10.244.0.0/16",),
    }


def test_values_are_read_with_their_lines() -> None:
    content = read((HEAD + "mode: ipvs\nipvs:\n  scheduler: rr\n  syncPeriod: 1m30s\nnodePortAddresses:\n- 10.0.0.0/8\n").encode())
    assert values(content) == {
        "mode": "ipvs", "ipvs_scheduler": "rr", "ipvs_sync_period": 90.0, "node_port_addresses": ("10.0.0.0/8",),
    }
    assert [given.line for given in content.values.values()] == [3, 5, 6, 7]
    assert [given.path for given in content.values.values()] == ["mode", "ipvs.scheduler", "ipvs.syncPeriod", "nodePortAddresses"]


def test_cfg_21_json_is_read_as_well() -> None:
    document = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "iptables": {"masqueradeBit": 0}}
    for text in (json.dumps(document), json.dumps(document, indent="\t")):
        assert values(read(text.encode())) == {"masquerade_bit": 0}


def test_zero_means_the_default_where_kube_proxy_takes_it_so() -> None:
    text = "configSyncPeriod: 0s\nconntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s}\noomScoreAdj: 0\nipvs: {minSyncPeriod: 0s}\n"
    assert values(read((HEAD + text).encode())) == {
        "conntrack_max_per_core": 0, "conntrack_tcp_established_timeout": 0, "oom_score_adj": 0, "ipvs_min_sync_period": 0,
    }


def test_both_documents_may_be_in_a_file_in_either_order() -> None:
    ours = OURS + "externalIPs:\n  policy: ranges\n  ranges: [192.0.2.0/24]\n"
    for text in (HEAD + "---\n" + ours, ours + "---\n" + HEAD):
        content = read(text.encode())
        assert content.problems == ()
        assert values(content) == {"external_ips": "ranges", "external_ip_ranges": ("192.0.2.0/24",)}


def test_lines_count_from_the_beginning_of_the_file() -> None:
    content = read(f"# here\n---\n{HEAD}mode: ipvs\n---\n{OURS}takeover: false\nsocket: 5\n".encode())
    assert content.values["mode"].line == 5
    assert content.values["takeover"].line == 9
    assert lines(content.problems) == ["10 socket: 5 is no text; put it in quotes if it is meant so"]


def test_cfg_21_unknown_fields_and_fields_given_twice_are_remarks_in_kube_proxys_document() -> None:
    content = read((HEAD + "mode: iptables\nmode: ipvs\niptables:\n  masqueradBit: 3\nudpIdleTimeout: 1s\n").encode())
    assert content.problems == ()
    assert values(content) == {"mode": "ipvs"}
    assert lines(content.remarks) == [
        "3 mode: is given twice; the last one counts",
        "6 iptables.masqueradBit: is not known; did you mean iptables.masqueradeBit?",
        "7 udpIdleTimeout: is not known",
    ]


def test_in_our_document_they_are_errors() -> None:
    content = read((OURS + "takover: false\nsocket: /a\nsocket: /b\n").encode())
    assert lines(content.problems) == [
        "3 takover: is not known; did you mean takeover?",
        "4 socket: is given twice; the last one counts",
    ]


def test_cfg_19_what_means_nothing_here_is_told_only_if_it_says_something() -> None:
    content = read((HEAD + "portRange: 30000-32767\nwinkernel:\n  enableDSR: true\nlogging:\n  flushFrequency: 10s\n").encode())
    assert content.problems == ()
    assert lines(content.remarks) == [
        "3 portRange: has no effect here", "4 winkernel: has no effect here", "7 logging.flushFrequency: has no effect here",
    ]


def test_every_wrong_value_is_told_at_once() -> None:
    content = read((HEAD + "mode: 5\niptables:\n  syncPeriod: soon\n  masqueradeBit: x\nipvs: rr\nfeatureGates: {A: 1}\n").encode())
    assert [one.path for one in content.problems] == ["mode", "iptables.syncPeriod", "iptables.masqueradeBit", "ipvs", "featureGates"]
    assert [one.line for one in content.problems] == [3, 5, 6, 7, 8]
    assert content.values == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a\n", "is no mapping"),
        ("mode: ipvs\n", "a document without kind (without apiVersion) is not known here"),
        ("apiVersion: kubeproxy.config.k8s.io/v1\nkind: KubeProxyConfiguration\n", "KubeProxyConfiguration (kubeproxy.config.k8s.io/v1)"),
        (f"{HEAD}---\n{HEAD}", "a second KubeProxyConfiguration"),
        (f"{HEAD}mode: [\n", "cannot be read"),
        (f"{HEAD}featureGates: {{A: true, A: false}}\n", "given twice"),
    ],
)
def test_what_is_no_configuration_is_refused_in_words(text: str, expected: str) -> None:
    (problem,) = read(text.encode()).problems
    assert expected in problem.text


def test_bytes_that_are_no_text_are_refused() -> None:
    (problem,) = read(HEAD.encode() + b"mode: \xff\n").problems
    assert problem.text == "not UTF-8"


def test_anchors_and_merge_keys_work() -> None:
    content = read((HEAD + "x: &periods\n  syncPeriod: 5s\niptables:\n  <<: *periods\n  masqueradeBit: 3\n").encode())
    assert values(content) == {"sync_period": 5.0, "masquerade_bit": 3}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=100))
def test_reading_never_fails(content: bytes, text: str) -> None:
    read(content)
    read((HEAD + text).encode("utf-8", "replace"))
