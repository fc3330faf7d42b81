"""What the configuration file may hold: two documents, and for each field its place in `Config`, how it is read, and how it is written.

KubeProxyConfiguration is kube-proxy's, unchanged, so that its ConfigMap serves as it is (CFG-01 to CFG-19). What kube-proxy cannot say
stands in a second document of the same file, PointsmanConfiguration. In kube-proxy's document a field of zero value often means the
default: an empty text always, an empty number or duration where `zero` says so. `config_file` reads by these tables, `config_document`
writes by them.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from pointsman.proxy import values

LARGEST = 2**31 - 1


class Kind(Struct, frozen=True):
    """How a value of the file is read (raises ValueError or TypeError with a sentence) and written; `name` is for documents."""

    name: str
    read: Callable[[object], object]
    write: Callable[[object], object]


class Setting(Struct, frozen=True):
    """A field of a document: its dotted path, the field of `Config`, its kind, and whether its zero value means the default."""

    path: str
    field: str
    kind: Kind
    zero: bool = False


class Schema(Struct, frozen=True):
    """A document. `unused` are paths that mean nothing here, with what kube-proxy writes there (None: nothing).

    In a `strict` one an unknown field is an error.
    """

    api_version: str
    kind: str
    settings: tuple[Setting, ...]
    unused: Mapping[str, object]
    strict: bool = False


# --- kinds -----------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} is no text; put it in quotes if it is meant so")
    return value.strip()


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{_shown(value)} is neither true nor false")
    return value


def _integer(value: object) -> int:
    value = int(value) if isinstance(value, float) and value.is_integer() else value  # 3.0 is 3 in JSON
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{_shown(value)} is no whole number")
    if abs(value) > LARGEST:
        raise ValueError(f"{value} is too large; the limit is {LARGEST}")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{_shown(value)} is no number")
    return float(value)


def _duration(value: object) -> float:
    if isinstance(value, int) and value == 0 and not isinstance(value, bool):
        return 0.0
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} is no duration; write it as 30s, 1m30s or 100ms")
    return values.duration(value.strip())


def _list(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise TypeError(f"{_shown(value)} is no list of texts")
    return tuple(entry.strip() for entry in value)


def _gates(value: object) -> tuple[tuple[str, bool], ...]:
    if not isinstance(value, dict) or not all(isinstance(on, bool) for on in value.values()):
        raise TypeError(f"{_shown(value)} is no mapping of names to true or false")
    return tuple(value.items())


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _same(value: object) -> object:
    return value


def _list_or_null(value: object) -> object:
    return [str(entry) for entry in value] or None if isinstance(value, tuple) else value


TEXT = Kind("text", _text, _same)
BOOLEAN = Kind("true or false", _boolean, _same)
INTEGER = Kind("whole number", _integer, _same)
NUMBER = Kind("number", _number, lambda value: int(value) if isinstance(value, float) and value.is_integer() else value)
DURATION = Kind("duration", _duration, lambda value: values.spelled(value, time=True))
LIST = Kind("list", _list, _list_or_null)
COMMAS = Kind("texts with commas", lambda value: values.listed(_text(value)), values.spelled)
GATES = Kind("mapping of names to true or false", _gates, lambda value: dict(value) if isinstance(value, tuple) else value)

# --- documents -------------------------------------------------------------------------------------------------------

_WINKERNEL = {"enableDSR": False, "forwardHealthCheckVip": False, "networkName": "", "rootHnsEndpointName": "", "sourceVip": ""}
_BUFFERS = {"json": {"infoBufferSize": "0"}, "text": {"infoBufferSize": "0"}}

KUBE_PROXY = Schema(
    "kubeproxy.config.k8s.io/v1alpha1",
    "KubeProxyConfiguration",
    (
        Setting("mode", "mode", TEXT),
        Setting("hostnameOverride", "hostname_override", TEXT),
        Setting("bindAddress", "bind_address", TEXT),
        Setting("healthzBindAddress", "healthz_bind_address", TEXT),
        Setting("metricsBindAddress", "metrics_bind_address", TEXT),
        Setting("bindAddressHardFail", "bind_address_hard_fail", BOOLEAN),
        Setting("enableProfiling", "enable_profiling", BOOLEAN),
        Setting("showHiddenMetricsForVersion", "show_hidden_metrics_for_version", TEXT),
        Setting("clientConnection.kubeconfig", "kubeconfig", TEXT),
        Setting("clientConnection.contentType", "kube_api_content_type", TEXT),
        Setting("clientConnection.qps", "kube_api_qps", NUMBER, zero=True),
        Setting("clientConnection.burst", "kube_api_burst", INTEGER, zero=True),
        Setting("configSyncPeriod", "config_sync_period", DURATION, zero=True),
        Setting("clusterCIDR", "cluster_cidr", COMMAS),
        Setting("detectLocalMode", "detect_local_mode", TEXT),
        Setting("detectLocal.bridgeInterface", "pod_bridge_interface", TEXT),
        Setting("detectLocal.interfaceNamePrefix", "pod_interface_name_prefix", TEXT),
        Setting("nodePortAddresses", "node_port_addresses", LIST),
        Setting("oomScoreAdj", "oom_score_adj", INTEGER),
        Setting("iptables.masqueradeBit", "masquerade_bit", INTEGER),
        Setting("iptables.masqueradeAll", "masquerade_all", BOOLEAN),
        Setting("iptables.localhostNodePorts", "localhost_node_ports", BOOLEAN),
        Setting("iptables.syncPeriod", "sync_period", DURATION, zero=True),
        Setting("iptables.minSyncPeriod", "min_sync_period", DURATION, zero=True),
        Setting("ipvs.syncPeriod", "ipvs_sync_period", DURATION, zero=True),
        Setting("ipvs.minSyncPeriod", "ipvs_min_sync_period", DURATION),
        Setting("ipvs.scheduler", "ipvs_scheduler", TEXT),
        Setting("ipvs.excludeCIDRs", "ipvs_exclude_cidrs", LIST),
        Setting("ipvs.strictARP", "ipvs_strict_arp", BOOLEAN),
        Setting("ipvs.tcpTimeout", "ipvs_tcp_timeout", DURATION),
        Setting("ipvs.tcpFinTimeout", "ipvs_tcpfin_timeout", DURATION),
        Setting("ipvs.udpTimeout", "ipvs_udp_timeout", DURATION),
        Setting("nftables.masqueradeBit", "nftables_masquerade_bit", INTEGER),
        Setting("nftables.masqueradeAll", "nftables_masquerade_all", BOOLEAN),
        Setting("nftables.syncPeriod", "nftables_sync_period", DURATION, zero=True),
        Setting("nftables.minSyncPeriod", "nftables_min_sync_period", DURATION, zero=True),
        Setting("conntrack.maxPerCore", "conntrack_max_per_core", INTEGER),
        Setting("conntrack.min", "conntrack_min", INTEGER),
        Setting("conntrack.tcpEstablishedTimeout", "conntrack_tcp_established_timeout", DURATION),
        Setting("conntrack.tcpCloseWaitTimeout", "conntrack_tcp_close_wait_timeout", DURATION),
        Setting("conntrack.tcpBeLiberal", "conntrack_tcp_be_liberal", BOOLEAN),
        Setting("conntrack.udpTimeout", "conntrack_udp_timeout", DURATION),
        Setting("conntrack.udpStreamTimeout", "conntrack_udp_stream_timeout", DURATION),
        Setting("featureGates", "feature_gates", GATES),
        Setting("logging.format", "logging_format", TEXT),
        Setting("logging.verbosity", "verbosity", INTEGER),
    ),
    unused={
        "clientConnection.acceptContentTypes": "",
        "logging.flushFrequency": "5s",
        "logging.options": _BUFFERS,
        "logging.vmodule": None,
        "portRange": "",
        "windowsRunAsService": None,
        "winkernel": _WINKERNEL,
    },
)
"""kube-proxy's own document."""

POINTSMAN = Schema(
    "pointsman.dev/v1alpha1",
    "PointsmanConfiguration",
    (
        Setting("manifests", "manifests", TEXT),
        Setting("takeover", "takeover", BOOLEAN),
        Setting("socket", "socket", TEXT),
        Setting("driftCheckPeriod", "drift_check_period", DURATION),
        Setting("externalIPs.policy", "external_ips", TEXT),
        Setting("externalIPs.ranges", "external_ip_ranges", LIST),
        Setting("iptables.variant", "iptables_variant", TEXT),
        Setting("ipvs.drainCap", "ipvs_drain_cap", DURATION),
        Setting("dns.enabled", "dns", BOOLEAN),
        Setting("dns.corefile", "dns_corefile", TEXT),
        Setting("dns.domain", "dns_domain", TEXT),
        Setting("dns.addresses", "dns_addresses", LIST),
        Setting("dns.takeVip", "dns_take_vip", BOOLEAN),
        Setting("dns.service", "dns_service", TEXT),
        Setting("dns.workers", "dns_workers", INTEGER),
        Setting("dns.searchAhead", "dns_search_ahead", BOOLEAN),
        Setting("dns.clientRate", "dns_client_rate", INTEGER),
        Setting("dns.state", "dns_state", TEXT),
    ),
    unused={},
    strict=True,
)
"""What kube-proxy has no word for."""

SCHEMAS = (KUBE_PROXY, POINTSMAN)

OURS = frozenset(setting.field for setting in POINTSMAN.settings)
"""Fields of `Config` that are not kube-proxy's."""

FLAG_ONLY = frozenset({"master"})
"""Fields of `Config` that no document has (CFG-22)."""

PATHS: Mapping[str, str] = {setting.field: setting.path for schema in SCHEMAS for setting in schema.settings}
"""What people call the fields of `Config` in the file."""
