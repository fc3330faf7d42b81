"""The flags of `run` and `plan`, as tables: kube-proxy's complete set with its spelling (CFG-40), and ours.

One `Flag` is one line: a further flag adds a line here, a field in `Config`, and a line in `settings` for the file. `flags` reads the
command line by these tables, `loading` joins it with the file, and docs/configuration.md is compared with them.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from pointsman.proxy.config import EXTERNAL_IPS, LOGGING_FORMATS, MODES, SCHEDULERS, VARIANTS
from pointsman.proxy.idle import flush_period, quantity, vmodule
from pointsman.proxy.values import (
    bind,
    boolean,
    decimal,
    detector,
    duration,
    external_ips,
    gates,
    integer,
    listed,
    mode,
    node_name,
    version,
    word,
)
from pointsman.routing.node import DetectLocal


class Flag(Struct, frozen=True):
    """One flag: its names, the field it sets, how its text is read, and its help. A `switch` may stand without a value.

    `also` names further fields that it sets: kube-proxy has one flag for what its file has per mode (CFG-40). `choices` are the words that
    shells complete.
    """

    name: str
    field: str
    read: Callable[[str], object]
    metavar: str
    help: str
    switch: bool = False
    many: bool = False
    short: str = ""
    also: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


ROUTING_FLAGS = (
    Flag("proxy-mode", "mode", mode, "MODE", "How the kernel is programmed: iptables or ipvs.", choices=MODES),
    Flag(
        "manifests", "manifests", word, "DIR",
        "Folder with manifests (YAML or JSON): Services, EndpointSlices, Nodes ... Default: they come from the Kubernetes API.",
    ),
    Flag(
        "hostname-override", "hostname_override", node_name, "NODE",
        "Name of this node, as its Node object has it. Default: the host's name.",
    ),
    Flag("bind-address", "bind_address", bind, "IP", "This node's IP; 0.0.0.0 or :: take the Node object's."),
    Flag("cluster-cidr", "cluster_cidr", listed, "CIDR[,CIDR]", "Range of all pods, one per family; other sources are masqueraded."),
    Flag(
        "detect-local-mode", "detect_local_mode", detector, "MODE",
        "How traffic of this node's pods is recognised: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix.",
        choices=tuple(detector.value for detector in DetectLocal),
    ),
    Flag("pod-bridge-interface", "pod_bridge_interface", word, "NAME", "The pods' bridge, for --detect-local-mode=BridgeInterface."),
    Flag(
        "pod-interface-name-prefix", "pod_interface_name_prefix", word, "PREFIX",
        "How the pods' interfaces begin, for --detect-local-mode=InterfaceNamePrefix.",
    ),
    Flag(
        "nodeport-addresses", "node_port_addresses", listed, "CIDR[,...]",
        "Where node ports are accepted: CIDRs, or 'primary' for the Node object's IPs. Default: every local address.", many=True,
    ),
    Flag(
        "masquerade-all", "masquerade_all", boolean, "BOOL", "Masquerade all traffic to cluster IPs.", switch=True,
        also=("nftables_masquerade_all",),
    ),
    Flag(
        "iptables-localhost-nodeports", "localhost_node_ports", boolean, "BOOL",
        "Accept IPv4 node ports on loopback addresses too.", switch=True,
    ),
    Flag("iptables-masquerade-bit", "masquerade_bit", integer, "BIT", "Bit of the packet mark that asks for masquerading, 0 to 31."),
    Flag(
        "ipvs-scheduler", "ipvs_scheduler", word, "NAME",
        "How IPVS picks: rr (the default), wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh.",
        choices=SCHEDULERS,
    ),
    Flag(
        "ipvs-exclude-cidrs", "ipvs_exclude_cidrs", listed, "CIDR[,...]",
        "Addresses that the ipvs mode leaves to others: it programs no virtual server there, and removes none.", many=True,
    ),
    Flag(
        "external-ips", "external_ips", external_ips, "POLICY",
        "Which spec.externalIPs are honoured: allow (all), deny (none), or ranges (those in --external-ip-ranges).",
        choices=EXTERNAL_IPS,
    ),
    Flag("external-ip-ranges", "external_ip_ranges", listed, "CIDR[,...]", "Ranges for --external-ips=ranges.", many=True),
)
"""What decides which rules are wanted: flags of `run` and of `plan`."""

AGENT_FLAGS = (
    Flag(
        "iptables-variant", "iptables_variant", word, "VARIANT", "Which iptables: legacy, nft, or auto (what the host uses).",
        choices=VARIANTS,
    ),
    Flag(
        "iptables-sync-period", "sync_period", duration, "DURATION",
        "Longest wait before a failed change is tried again; twice that without success is unhealthy.", also=("nftables_sync_period",),
    ),
    Flag(
        "iptables-min-sync-period", "min_sync_period", duration, "DURATION", "Shortest time between two rounds of writing.",
        also=("nftables_min_sync_period",),
    ),
    Flag("ipvs-sync-period", "ipvs_sync_period", duration, "DURATION", "--iptables-sync-period of the ipvs mode."),
    Flag("ipvs-min-sync-period", "ipvs_min_sync_period", duration, "DURATION", "--iptables-min-sync-period of the ipvs mode."),
    Flag(
        "ipvs-strict-arp", "ipvs_strict_arp", boolean, "BOOL",
        "Answer ARP for Service addresses on no interface that does not hold them (arp_ignore=1, arp_announce=2 on each).", switch=True,
    ),
    Flag("ipvs-tcp-timeout", "ipvs_tcp_timeout", duration, "DURATION", "Idle time of TCP connections; 0 leaves the kernel's."),
    Flag("ipvs-tcpfin-timeout", "ipvs_tcpfin_timeout", duration, "DURATION", "Idle time of TCP after FIN; 0 leaves the kernel's."),
    Flag("ipvs-udp-timeout", "ipvs_udp_timeout", duration, "DURATION", "Idle time of UDP connections; 0 leaves the kernel's."),
    Flag(
        "ipvs-drain-cap", "ipvs_drain_cap", duration, "DURATION",
        "How long a removed endpoint may keep its connections at most; 0 removes it at once.",
    ),
    Flag("drift-check-period", "drift_check_period", duration, "DURATION", "How often the kernel is read again in full, whatever happens."),
    Flag("healthz-bind-address", "healthz_bind_address", word, "IP:PORT", "Where /healthz, /livez and /readyz are served; empty: nowhere."),
    Flag("socket", "socket", word, "PATH", "Unix socket that answers `pointsman services`."),
    Flag("metrics-bind-address", "metrics_bind_address", word, "IP:PORT", "Where /metrics is served; empty: nowhere."),
    Flag(
        "bind-address-hard-fail", "bind_address_hard_fail", boolean, "BOOL",
        "End if an address for health or metrics is taken, instead of trying again.", switch=True,
    ),
    Flag("profiling", "enable_profiling", boolean, "BOOL", "Serve /debug/pprof beside /metrics.", switch=True),
    Flag(
        "show-hidden-metrics-for-version", "show_hidden_metrics_for_version", word, "VERSION",
        "Show metrics that were hidden in this version, which must be the one before.",
    ),
    Flag("kubeconfig", "kubeconfig", word, "FILE", "How to reach the Kubernetes API. Default: as a pod does."),
    Flag("master", "master", word, "URL", "Address of the Kubernetes API; wins over the one in --kubeconfig."),
    Flag("kube-api-content-type", "kube_api_content_type", word, "TYPE", "Taken for kube-proxy's sake: pointsman always asks for JSON."),
    Flag("kube-api-qps", "kube_api_qps", decimal, "NUMBER", "Requests per second to the Kubernetes API, on average."),
    Flag("kube-api-burst", "kube_api_burst", integer, "NUMBER", "Requests to the Kubernetes API at once."),
    Flag(
        "config-sync-period", "config_sync_period", duration, "DURATION",
        "Taken for kube-proxy's sake: objects are watched, and the kernel is compared with them every --drift-check-period.",
    ),
    Flag("conntrack-max-per-core", "conntrack_max_per_core", integer, "NUMBER", "Connections tracked per CPU; 0 leaves the limit."),
    Flag("conntrack-min", "conntrack_min", integer, "NUMBER", "Connections tracked at least, whatever the number of CPUs."),
    Flag(
        "conntrack-tcp-timeout-established", "conntrack_tcp_established_timeout", duration, "DURATION",
        "Idle time of established TCP connections; 0 leaves the kernel's.",
    ),
    Flag(
        "conntrack-tcp-timeout-close-wait", "conntrack_tcp_close_wait_timeout", duration, "DURATION",
        "Time of TCP connections in CLOSE_WAIT; 0 leaves the kernel's.",
    ),
    Flag(
        "conntrack-tcp-be-liberal", "conntrack_tcp_be_liberal", boolean, "BOOL",
        "Let TCP packets outside the window pass as part of their connection.", switch=True,
    ),
    Flag("conntrack-udp-timeout", "conntrack_udp_timeout", duration, "DURATION", "Idle time of UDP flows; 0 leaves the kernel's."),
    Flag(
        "conntrack-udp-timeout-stream", "conntrack_udp_stream_timeout", duration, "DURATION",
        "Idle time of UDP flows with packets both ways; 0 leaves the kernel's.",
    ),
    Flag("feature-gates", "feature_gates", gates, "NAME=BOOL[,...]", "kube-proxy's feature gates.", many=True),
    Flag(
        "takeover", "takeover", boolean, "BOOL",
        "Remove what kube-proxy left in this kernel, once everything is programmed.", switch=True,
    ),
    Flag("dns", "dns", boolean, "BOOL", "Answer DNS on this node, beside the rules (docs/dns.md).", switch=True),
    Flag("corefile", "dns_corefile", word, "FILE", "What DNS serves, in CoreDNS's language. Default: kubeadm's, for --dns-domain."),
    Flag("dns-domain", "dns_domain", word, "DOMAIN", "The cluster's domain, where no --corefile says it."),
    Flag(
        "dns-addresses", "dns_addresses", listed, "IP[,...]",
        "Addresses of this node's own at which DNS is answered, as NodeLocal DNSCache does it.",
    ),
    Flag(
        "dns-take-vip", "dns_take_vip", boolean, "BOOL",
        "Answer at the cluster's DNS address too, while the resolver works, so that no pod needs another resolv.conf.", switch=True,
    ),
    Flag("dns-service", "dns_service", word, "NAMESPACE/NAME", "The Service whose cluster IPs are the cluster's DNS addresses."),
    Flag("dns-workers", "dns_workers", integer, "NUMBER", "Processes that answer; one is enough for 100,000 queries per second."),
    Flag(
        "dns-search-ahead", "dns_search_ahead", boolean, "BOOL",
        "Resolve example.com ahead when its first step on the search path is denied; no reply is changed.", switch=True,
    ),
    Flag(
        "dns-client-rate", "dns_client_rate", integer, "NUMBER",
        "Queries per second that one client may ask at each address; more are dropped and counted. 0: no limit.",
    ),
    Flag(
        "dns-state", "dns_state", word, "FILE",
        "Where the last known names are kept for a restart while the API server is away. Default: beside --socket.",
    ),
    Flag("oom-score-adj", "oom_score_adj", integer, "NUMBER", "Written to /proc/self/oom_score_adj, if the kernel allows it."),
    Flag("v", "verbosity", integer, "LEVEL", "How much is logged: 0 events, 4 each step, 8 libraries too.", short="-v"),
    Flag("logging-format", "logging_format", word, "FORMAT", "text or json.", choices=LOGGING_FORMATS),
)
"""What only a running agent needs."""

FILE_FLAGS = (
    Flag(
        "config", "config_file", word, "FILE",
        "File with a KubeProxyConfiguration, and with a PointsmanConfiguration if there is one. kube-proxy's flags then have no effect,"
        " besides --hostname-override, --master, -v and --logging-format; ours have, and win.",
    ),
)
"""Where the rest of the configuration is."""

ACTION_FLAGS = (
    Flag("write-config-to", "write_config_to", word, "FILE", "Write the configuration in force to this file, and end."),
    Flag(
        "init-only", "init_only", boolean, "BOOL",
        "Only do what needs full privileges, and end; CAP_NET_ADMIN and CAP_NET_RAW are enough from then on.", switch=True,
    ),
    Flag("cleanup", "cleanup", boolean, "BOOL", "Remove all rules of all modes, and end.", switch=True),
    Flag("version", "version", version, "BOOL|raw", "Print the version, and end.", switch=True, choices=("true", "raw")),
)
"""What to do instead of routing."""

PORT_FLAGS = (
    Flag("healthz-port", "healthz_port", integer, "PORT", "Deprecated: the port of --healthz-bind-address; 0: nowhere."),
    Flag("metrics-port", "metrics_port", integer, "PORT", "Deprecated: the port of --metrics-bind-address; 0: nowhere."),
)
"""Older ways to say something."""

UNUSED_FLAGS = tuple(
    Flag(name, name.replace("-", "_"), read, "VALUE", "Taken for kube-proxy's sake; has no effect.", switch=read is boolean)
    for name, read in (
        ("proxy-port-range", word), ("vmodule", vmodule), ("log-flush-frequency", flush_period), ("log-text-split-stream", boolean),
        ("log-text-info-buffer-size", quantity), ("log-json-split-stream", boolean), ("log-json-info-buffer-size", quantity),
        ("boot-id-file", word), ("machine-id-file", word),
    )
)
"""What means nothing here: it is taken, and told once."""

PLAN_FLAGS = FILE_FLAGS + ROUTING_FLAGS
RUN_FLAGS = FILE_FLAGS + ROUTING_FLAGS + AGENT_FLAGS + ACTION_FLAGS + PORT_FLAGS + UNUSED_FLAGS

NAMES: Mapping[str, str] = {
    field: "-v" if flag.short else f"--{flag.name}" for flag in RUN_FLAGS for field in (*flag.also, flag.field)
}
"""What people call the fields of `Config` on the command line."""
