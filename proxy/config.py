"""The configuration in force, as one typed value; `flags` makes it from the command line.

Names follow kube-proxy's KubeProxyConfiguration (docs/services.md CFG-01 to CFG-24), ours come last. Durations are seconds. Defaults are
kube-proxy's for the mode. `problems()` finds everything that is wrong at once, `warnings()` what is allowed and probably not meant. Both
name the attribute of `Config`; whoever read the value (flags today, a file later) knows what the person who wrote it calls it.
"""

import ipaddress
from collections.abc import Callable, Iterator

from msgspec import Struct
from pointsman.routing.node import DetectLocal
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
    ipvs_scheduler: str = "rr"
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


def problems(config: Config) -> tuple[ConfigProblem, ...]:
    """Return everything that makes the configuration unusable (CFG-23, CFG-24), in a stable order."""
    checks: tuple[Callable[[Config], Iterator[ConfigProblem]], ...] = (_choices, _numbers, _periods, _addresses, _cidrs, _detector, _paths)
    return tuple(problem for check in checks for problem in check(config))


def warnings(config: Config) -> tuple[ConfigProblem, ...]:
    """Return what works and should be looked at (CFG-24)."""
    return tuple(_warnings(config))


def family_of(cidr: str) -> Family | None:
    """Return the family of an address or CIDR; None if it is neither."""
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return None
    return Family.IPV4 if network.version == 4 else Family.IPV6


def split_host_port(text: str) -> tuple[str, int]:
    """Split `address:port` or `[address]:port` into both; raises ValueError with a sentence if it is neither (CFG-02)."""
    host, _, port = text.rpartition(":")
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


def _choices(config: Config) -> Iterator[ConfigProblem]:
    """Check values that are one of a few words."""
    choices = {
        "mode": MODES,
        "iptables_variant": VARIANTS,
        "logging_format": LOGGING_FORMATS,
        "external_ips": EXTERNAL_IPS,
        "ipvs_scheduler": SCHEDULERS,
        "detect_local_mode": tuple(mode.value for mode in DetectLocal),
    }
    for field, allowed in choices.items():
        value = getattr(config, field)
        if value not in allowed:
            yield ConfigProblem(field, f"{value!r} is unknown; this version knows: {', '.join(allowed)}")
    if config.external_ips == "ranges" and not config.external_ip_ranges:
        yield ConfigProblem("external_ip_ranges", "external IPs are limited to ranges, but no range is given; name some, or deny them all")
    if config.external_ips != "ranges" and config.external_ip_ranges:
        yield ConfigProblem("external_ip_ranges", f"has no effect while external IPs are {config.external_ips!r}; set those to 'ranges'")


def _numbers(config: Config) -> Iterator[ConfigProblem]:
    """Check numbers against their ranges."""
    if not 0 <= config.masquerade_bit <= 31:
        yield ConfigProblem("masquerade_bit", f"{config.masquerade_bit} is no bit of a 32-bit mark; use 0 to 31")
    if not -1000 <= config.oom_score_adj <= 1000:
        yield ConfigProblem("oom_score_adj", f"{config.oom_score_adj} is outside -1000 to 1000")
    if not 0 <= config.verbosity <= 10:
        yield ConfigProblem("verbosity", f"{config.verbosity} is outside 0 to 10")


def _periods(config: Config) -> Iterator[ConfigProblem]:
    """Check durations."""
    for field in ("sync_period", "ipvs_sync_period", "drift_check_period"):
        if getattr(config, field) <= 0:
            yield ConfigProblem(field, "must be longer than zero")
    for field in ("ipvs_tcp_timeout", "ipvs_tcpfin_timeout", "ipvs_udp_timeout", "ipvs_drain_cap"):
        if not 0 <= getattr(config, field) <= LONGEST_TIMEOUT:
            yield ConfigProblem(field, f"must be from 0 to {LONGEST_TIMEOUT} seconds")
    pairs = {"min_sync_period": config.sync_period, "ipvs_min_sync_period": config.ipvs_sync_period}
    for field, longest in pairs.items():
        if getattr(config, field) < 0:
            yield ConfigProblem(field, "must not be negative")
        if longest > 0 and getattr(config, field) > longest:
            yield ConfigProblem(field, "must not be longer than the sync period")


def _addresses(config: Config) -> Iterator[ConfigProblem]:
    """Check addresses to bind to."""
    try:
        ipaddress.ip_address(config.bind_address)
    except ValueError:
        yield ConfigProblem("bind_address", f"{config.bind_address!r} is no IP address")
    if config.healthz_bind_address:
        try:
            split_host_port(config.healthz_bind_address)
        except ValueError as error:
            yield ConfigProblem("healthz_bind_address", f"{config.healthz_bind_address!r}: {error}")


def _cidrs(config: Config) -> Iterator[ConfigProblem]:
    """Check lists of CIDRs."""
    for field in ("cluster_cidr", "external_ip_ranges", "ipvs_exclude_cidrs"):
        for cidr in getattr(config, field):
            if not _is_cidr(cidr):
                yield ConfigProblem(field, f"{cidr!r} is no CIDR, such as 10.244.0.0/16")
    for entry in config.node_port_addresses:
        if entry == PRIMARY:
            if len(config.node_port_addresses) > 1:
                yield ConfigProblem("node_port_addresses", "'primary' must be the only entry")
        elif not _is_cidr(entry):
            yield ConfigProblem("node_port_addresses", f"{entry!r} is neither a CIDR, such as 192.168.0.0/24, nor 'primary'")
    families = [family_of(cidr) for cidr in config.cluster_cidr]
    if len(families) > 2:
        yield ConfigProblem("cluster_cidr", f"{len(families)} CIDRs are given; give one, or one IPv4 and one IPv6")
    elif len(families) == 2 and families[0] is families[1] is not None:
        yield ConfigProblem("cluster_cidr", "two CIDRs of one family; give one, or one IPv4 and one IPv6")


def _detector(config: Config) -> Iterator[ConfigProblem]:
    """Check that the detector of local traffic has its parameter."""
    needed = {
        DetectLocal.BRIDGE_INTERFACE.value: "pod_bridge_interface",
        DetectLocal.INTERFACE_NAME_PREFIX.value: "pod_interface_name_prefix",
    }
    field = needed.get(config.detect_local_mode, "")
    if field and not getattr(config, field):
        yield ConfigProblem(field, f"is needed to detect local traffic by {config.detect_local_mode}")
    for field in needed.values():
        value = getattr(config, field)
        if len(value.encode()) > INTERFACE_NAME_LENGTH:
            yield ConfigProblem(field, f"{value!r} is longer than the {INTERFACE_NAME_LENGTH} characters of an interface name")
        if any(character.isspace() or character in "/+*" for character in value):
            yield ConfigProblem(field, f"{value!r} holds characters that no interface name has")


def _paths(config: Config) -> Iterator[ConfigProblem]:
    """Check paths, without looking at the disk."""
    if not config.socket.startswith("/"):
        yield ConfigProblem("socket", f"{config.socket!r} is no absolute path")
    elif len(config.socket.encode()) > UNIX_PATH_LENGTH:
        yield ConfigProblem("socket", f"is longer than the {UNIX_PATH_LENGTH} bytes of a unix socket's path")


def _warnings(config: Config) -> Iterator[ConfigProblem]:
    if not config.node_port_addresses:
        yield ConfigProblem("node_port_addresses", "is not set: node ports are accepted on every local address; consider 'primary'")
    elif config.node_port_addresses != (PRIMARY,):
        present = {family_of(cidr) for cidr in config.node_port_addresses}
        for family in Family:
            if family not in present:
                text = f"holds no {family.value} CIDR: {family.value} node ports are accepted on every local address"
                yield ConfigProblem("node_port_addresses", text)
    if config.detect_local_mode == DetectLocal.CLUSTER_CIDR.value and not config.cluster_cidr and not config.masquerade_all:
        text = "is not set: traffic of pods cannot be told from other traffic, so none to cluster IPs is masqueraded"
        yield ConfigProblem("cluster_cidr", text)
    if config.detect_local_mode != DetectLocal.CLUSTER_CIDR.value and config.cluster_cidr:
        yield ConfigProblem("cluster_cidr", f"has no effect while local traffic is detected by {config.detect_local_mode}")
    bind = family_of(config.bind_address)
    families = {family_of(cidr) for cidr in config.cluster_cidr}
    if families and bind not in families:
        yield ConfigProblem("bind_address", f"{config.bind_address} is of another family than the cluster CIDR")


def _is_cidr(text: str) -> bool:
    return "/" in text and family_of(text) is not None
