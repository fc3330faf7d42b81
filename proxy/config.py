"""The configuration in force, as one typed value; `flags` makes it from the command line.

Names follow kube-proxy's KubeProxyConfiguration (SERVICES.md CFG-01 to CFG-24), ours come last. Durations are seconds. Defaults are
kube-proxy's for the mode. `problems()` finds everything that is wrong at once.
"""

from msgspec import Struct

MODES = ("iptables",)
"""Modes that this version can program."""

VARIANTS = ("auto", "legacy", "nft")
"""Which iptables to use; auto picks what the host uses."""


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
    verbosity: int = 0
    logging_format: str = "text"
    # ours
    manifests: str = ""
    iptables_variant: str = "auto"
    external_ips: str = "allow"
    external_ip_ranges: tuple[str, ...] = ()
    socket: str = "/run/pointsman/pointsman.sock"
