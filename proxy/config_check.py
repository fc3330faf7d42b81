"""What is wrong with a configuration, and what is doubtful, as sentences for the people who wrote it.

Everything is found at once (CFG-23). What only another mode reads is not judged: a file that kube-proxy takes must be taken (its
validation does the same). Each finding names the attribute of `Config`; `loading` knows what its author calls it and where it was written.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator

from pointsman.proxy import gates, version
from pointsman.proxy.config import (
    EXTERNAL_IPS,
    INTERFACE_NAME_LENGTH,
    LOGGING_FORMATS,
    LONGEST_TIMEOUT,
    MODES,
    PRIMARY,
    SCHEDULERS,
    UNIX_PATH_LENGTH,
    VARIANTS,
    Config,
    ConfigProblem,
    family_of,
    split_host_port,
)
from pointsman.routing.node import DetectLocal
from pointsman.routing.route import Family


def problems(config: Config) -> tuple[ConfigProblem, ...]:
    """Return everything that makes the configuration unusable (CFG-23, CFG-24), in a stable order."""
    return tuple(problem for check in CHECKS for problem in check(config))


def family_problems(config: Config, served: Iterable[Family]) -> tuple[ConfigProblem, ...]:
    """Return what makes the configuration unusable on a host that serves only some families (CFG-24)."""
    served = tuple(served)
    names = " and ".join(family.value for family in served)
    bind = ipaddress.ip_address(config.bind_address)
    found = []
    if not bind.is_unspecified and family_of(config.bind_address) not in served:
        found.append(ConfigProblem("bind_address", f"{bind} cannot be used: this host serves {names} only"))
    if config.detect_local_mode == DetectLocal.CLUSTER_CIDR.value and config.cluster_cidr:
        families = {family_of(cidr) for cidr in config.cluster_cidr}
        if families.isdisjoint(served):
            text = f"{','.join(config.cluster_cidr)} cannot be used: this host serves {names} only"
            found.append(ConfigProblem("cluster_cidr", text))
    return tuple(found)


def warnings(config: Config) -> tuple[ConfigProblem, ...]:
    """Return what works and should be looked at (CFG-24)."""
    return tuple(_warnings(config))


def _choices(config: Config) -> Iterator[ConfigProblem]:
    """Check values that are one of a few words."""
    choices = {
        "mode": MODES,
        "iptables_variant": VARIANTS,
        "logging_format": LOGGING_FORMATS,
        "external_ips": EXTERNAL_IPS,
        "detect_local_mode": tuple(mode.value for mode in DetectLocal),
    } | ({"ipvs_scheduler": SCHEDULERS} if config.mode == "ipvs" and config.ipvs_scheduler else {})
    for field, allowed in choices.items():
        value = getattr(config, field)
        if value not in allowed:
            yield ConfigProblem(field, f"{value!r} is unknown; this version knows: {', '.join(allowed)}")
    if config.external_ips == "ranges" and not config.external_ip_ranges:
        yield ConfigProblem("external_ip_ranges", "external IPs are limited to ranges, but no range is given; name some, or deny them all")
    if config.external_ips != "ranges" and config.external_ip_ranges:
        yield ConfigProblem("external_ip_ranges", f"has no effect while external IPs are {config.external_ips!r}; set those to 'ranges'")


def _gates(config: Config) -> Iterator[ConfigProblem]:
    """Check what belongs to releases of kube-proxy."""
    for text in gates.unknown(config.feature_gates):
        yield ConfigProblem("feature_gates", text)
    asked, before = config.show_hidden_metrics_for_version, version.release_before()
    if asked and asked != before:
        yield ConfigProblem("show_hidden_metrics_for_version", f"{asked!r} is not the release before this one; that is {before}")


def _numbers(config: Config) -> Iterator[ConfigProblem]:
    """Check numbers against their ranges."""
    for field in ("masquerade_bit", *(["nftables_masquerade_bit"] if config.mode == "nftables" else [])):
        if not 0 <= getattr(config, field) <= 31:
            yield ConfigProblem(field, f"{getattr(config, field)} is no bit of a 32-bit mark; use 0 to 31")
    if not -1000 <= config.oom_score_adj <= 1000:
        yield ConfigProblem("oom_score_adj", f"{config.oom_score_adj} is outside -1000 to 1000")
    for field in ("verbosity", "conntrack_max_per_core", "conntrack_min", "kube_api_burst"):
        if getattr(config, field) < 0:
            yield ConfigProblem(field, "must not be negative")


def _periods(config: Config) -> Iterator[ConfigProblem]:
    """Check durations; sync periods are those of the mode in force (CFG-20)."""
    prefix = f"{config.mode}_" if config.mode in ("ipvs", "nftables") else ""
    for field in (f"{prefix}sync_period", "config_sync_period", "drift_check_period"):
        if getattr(config, field) <= 0:
            yield ConfigProblem(field, "must be longer than zero")
    timeouts = [field for field in Config.__struct_fields__ if re.fullmatch("conntrack_.*_timeout", field)]
    if config.mode == "ipvs":
        timeouts += ["ipvs_tcp_timeout", "ipvs_tcpfin_timeout", "ipvs_udp_timeout", "ipvs_drain_cap"]
    for field in timeouts:
        if not 0 <= getattr(config, field) <= LONGEST_TIMEOUT:
            yield ConfigProblem(field, f"must be from 0 to {LONGEST_TIMEOUT} seconds")
    if config.write_period < 0:
        yield ConfigProblem(f"{prefix}min_sync_period", "must not be negative")
    elif 0 < config.retry_period < config.write_period:
        yield ConfigProblem(f"{prefix}min_sync_period", "must not be longer than the sync period")


def _addresses(config: Config) -> Iterator[ConfigProblem]:
    """Check addresses to bind to."""
    try:
        ipaddress.ip_address(config.bind_address)
    except ValueError:
        yield ConfigProblem("bind_address", f"{config.bind_address!r} is no IP address")
    for field in ("healthz_bind_address", "metrics_bind_address"):
        address = getattr(config, field)
        try:
            if address:
                split_host_port(address)
        except ValueError as error:
            yield ConfigProblem(field, f"{address!r}: {error}")


def _cidrs(config: Config) -> Iterator[ConfigProblem]:
    """Check lists of CIDRs."""
    by_cluster_cidr = config.detect_local_mode == DetectLocal.CLUSTER_CIDR.value
    used = {"external_ip_ranges": True, "cluster_cidr": by_cluster_cidr, "ipvs_exclude_cidrs": config.mode == "ipvs"}
    for field in (field for field, counts in used.items() if counts):
        for cidr in getattr(config, field):
            if not _is_cidr(cidr):
                yield ConfigProblem(field, f"{cidr!r} is no CIDR, such as 10.244.0.0/16")
    for entry in config.node_port_addresses:
        if entry == PRIMARY:
            if len(config.node_port_addresses) > 1:
                yield ConfigProblem("node_port_addresses", "'primary' must be the only entry")
        elif not _is_cidr(entry):
            yield ConfigProblem("node_port_addresses", f"{entry!r} is neither a CIDR, such as 192.168.0.0/24, nor 'primary'")
    families = [family_of(cidr) for cidr in config.cluster_cidr] if by_cluster_cidr else []
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
    value = getattr(config, field) if field else ""
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


def _dns(config: Config) -> Iterator[ConfigProblem]:
    """Check what DNS is told; the Corefile is judged when it is read."""
    if not config.dns:
        return
    for address in config.dns_addresses:
        if family_of(address) is None or "/" in address:
            yield ConfigProblem("dns_addresses", f"{address!r} is no IP address, such as 169.254.20.10")
    if not config.dns_addresses and not config.dns_take_vip:
        yield ConfigProblem("dns_addresses", "are empty while the cluster's DNS address is not taken: nobody could ask")
    namespace, _, name = config.dns_service.partition("/")
    if not namespace or not name or "/" in name:
        yield ConfigProblem("dns_service", f"{config.dns_service!r} is no Service; write NAMESPACE/NAME, such as kube-system/kube-dns")
    if not 1 <= config.dns_workers <= 64:
        yield ConfigProblem("dns_workers", f"{config.dns_workers} is outside 1 to 64")
    if config.dns_client_rate < 0:
        yield ConfigProblem("dns_client_rate", f"{config.dns_client_rate} is below 0; 0 means no limit")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?", config.dns_domain):
        yield ConfigProblem("dns_domain", f"{config.dns_domain!r} is no domain, such as cluster.local")


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
    if config.mode == "ipvs" and not config.ipvs_strict_arp:
        text = "is off: every node answers ARP for load-balancer IPs; turn it on if one announces them on this network (MetalLB in layer 2)"
        yield ConfigProblem("ipvs_strict_arp", text)
    bind = family_of(config.bind_address)
    families = {family_of(cidr) for cidr in config.cluster_cidr}
    if families and bind not in families:
        yield ConfigProblem("bind_address", f"{config.bind_address} is of another family than the cluster CIDR")
    for text in gates.without_effect(config.feature_gates):
        yield ConfigProblem("feature_gates", text)


def _is_cidr(text: str) -> bool:
    return "/" in text and family_of(text) is not None


CHECKS: tuple[Callable[[Config], Iterator[ConfigProblem]], ...] = (
    _choices, _gates, _numbers, _periods, _addresses, _cidrs, _detector, _paths, _dns,
)
