"""The configuration in force, as one typed value.

Names follow kube-proxy's KubeProxyConfiguration (docs/services.md CFG-01 to CFG-24), ours come last. Durations are seconds. Defaults are
kube-proxy's for the mode. Values arrive from `flags` and `config_file` by way of `loading`; `config_check` judges them.
"""

import ipaddress

from msgspec import Struct
from pointsman.proxy.dns import defaults
from pointsman.routing.route import Family

MODES = ("iptables", "ipvs", "nftables")
"""kube-proxy's modes. What this version can program is in `modes.MODES`; the others are refused at the start (PROC-02)."""

VARIANTS = ("auto", "legacy", "nft")
"""Which iptables to use; auto picks what the host uses."""

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh")
"""How IPVS picks (IPVS-04)."""

LONGEST_TIMEOUT = 2_147_483
"""Seconds that the kernel takes as an IPVS timeout."""

LOGGING_FORMATS = ("text", "json")
"""How log lines are written."""

EXTERNAL_IPS = ("allow", "deny", "ranges")
"""What becomes of spec.externalIPs: all honoured, none, or those inside external_ip_ranges (CVE-2020-8554)."""

PRIMARY = "primary"
"""The word that stands for the node's own addresses in node_port_addresses (SEM-43)."""

INTERFACE_NAME_LENGTH = 15
"""The longest name the kernel gives an interface."""

UNIX_PATH_LENGTH = 107
"""The longest path of a unix socket."""


class Config(Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    # kube-proxy's
    mode: str = "iptables"
    hostname_override: str = ""
    bind_address: str = "0.0.0.0"  # noqa: S104
    healthz_bind_address: str = "0.0.0.0:10256"
    cluster_cidr: tuple[str, ...] = ()
    detect_local_mode: str = "ClusterCIDR"
    pod_bridge_interface: str = ""
    pod_interface_name_prefix: str = ""
    node_port_addresses: tuple[str, ...] = ()
    masquerade_all: bool = False
    masquerade_bit: int = 14
    localhost_node_ports: bool = True
    sync_period: float = 30.0
    min_sync_period: float = 1.0
    oom_score_adj: int = -999
    verbosity: int = 0
    logging_format: str = "text"
    ipvs_sync_period: float = 30.0
    ipvs_min_sync_period: float = 0.0
    ipvs_scheduler: str = ""
    ipvs_strict_arp: bool = False
    ipvs_exclude_cidrs: tuple[str, ...] = ()
    ipvs_tcp_timeout: float = 0.0
    ipvs_tcpfin_timeout: float = 0.0
    ipvs_udp_timeout: float = 0.0
    nftables_masquerade_bit: int = 14
    nftables_masquerade_all: bool = False
    nftables_sync_period: float = 30.0
    nftables_min_sync_period: float = 1.0
    kubeconfig: str = ""
    master: str = ""
    kube_api_content_type: str = "application/vnd.kubernetes.protobuf"
    kube_api_qps: float = 5.0
    kube_api_burst: int = 10
    config_sync_period: float = 900.0
    metrics_bind_address: str = "127.0.0.1:10249"
    bind_address_hard_fail: bool = False
    enable_profiling: bool = False
    show_hidden_metrics_for_version: str = ""
    conntrack_max_per_core: int = 32768
    conntrack_min: int = 131072
    conntrack_tcp_established_timeout: float = 86400.0
    conntrack_tcp_close_wait_timeout: float = 3600.0
    conntrack_tcp_be_liberal: bool = False
    conntrack_udp_timeout: float = 0.0
    conntrack_udp_stream_timeout: float = 0.0
    feature_gates: tuple[tuple[str, bool], ...] = ()
    # ours
    manifests: str = ""
    takeover: bool = True
    ipvs_drain_cap: float = 900.0
    iptables_variant: str = "auto"
    external_ips: str = "allow"
    external_ip_ranges: tuple[str, ...] = ()
    socket: str = "/run/pointsman/pointsman.sock"
    drift_check_period: float = 300.0
    dns: bool = False
    dns_corefile: str = ""
    dns_domain: str = defaults.DOMAIN
    dns_addresses: tuple[str, ...] = defaults.ADDRESSES
    dns_take_vip: bool = True
    dns_service: str = defaults.SERVICE
    dns_workers: int = 1
    dns_search_ahead: bool = True
    dns_client_rate: int = 0
    dns_state: str = ""

    @property
    def retry_period(self) -> float:
        """Return the longest wait before a failed change is tried again, of the mode in force (CFG-20)."""
        return {"ipvs": self.ipvs_sync_period, "nftables": self.nftables_sync_period}.get(self.mode, self.sync_period)

    @property
    def write_period(self) -> float:
        """Return the shortest time between two rounds of writing, of the mode in force (CFG-20)."""
        return {"ipvs": self.ipvs_min_sync_period, "nftables": self.nftables_min_sync_period}.get(self.mode, self.min_sync_period)

    @property
    def mark_bit(self) -> int:
        """Return the bit of the masquerade mark, of the mode in force; ipvs takes that of iptables (CFG-20)."""
        return self.nftables_masquerade_bit if self.mode == "nftables" else self.masquerade_bit

    @property
    def masquerade_every(self) -> bool:
        """Return whether all traffic to cluster IPs is masqueraded, of the mode in force; ipvs takes that of iptables (CFG-20)."""
        return self.nftables_masquerade_all if self.mode == "nftables" else self.masquerade_all


class ConfigProblem(Struct, frozen=True, order=True):
    """Something wrong or doubtful in the configuration: the attribute of `Config`, and why, with what to do about it."""

    field: str
    text: str


def family_of(cidr: str) -> Family | None:
    """Return the family of an address or CIDR; None if it is neither."""
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return None
    return Family.IPV4 if network.version == 4 else Family.IPV6


def split_host_port(text: str) -> tuple[str, int]:
    """Split `address:port` or `[address]:port` into both; raises ValueError with a sentence if it is neither (CFG-02)."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} is no address and port; write address:port, such as 127.0.0.1:10256")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address with a port is written in brackets, such as [::]:10256")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is no IP address; write address:port, such as 127.0.0.1:10256") from None
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{port!r} is no port from 1 to 65535")
    return host, int(port)
