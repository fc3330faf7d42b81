"""Flags: a table from kube-proxy's names to the fields of `Config`, read the way Go programs read them.

kube-proxy's users bring their command lines along, so spelling and grammar are kube-proxy's (CFG-40, CFG-41): booleans are
`--flag` or `--flag=false`, durations `1m30s`, lists are comma separated and add up when repeated, and neither unknown flags nor other
arguments are accepted. Click finds the options and prints the help; values are read here, so that everything that is wrong is told at once.
One `Flag` is one line of the table: a further flag or another front end (the drop-in for kube-proxy) adds lines and nothing else.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NoReturn

import click
from msgspec import Struct, structs
from pointsman.proxy.config import Config, ConfigProblem

USAGE_STATUS = 2
"""Exit status when flags or configuration are wrong."""

Read = Callable[[str], object]
Values = Mapping[str, tuple[str, ...]]
"""What was given on the command line: texts by name of the `Config` field, in order."""


class Flag(Struct, frozen=True):
    """One flag: its names, the field it sets, how its text is read, and its help. A `switch` may stand without a value.

    `also` names further fields that it sets: kube-proxy has one flag for what its file has per mode (CFG-40).
    """

    name: str
    field: str
    read: Read
    metavar: str
    help: str
    switch: bool = False
    many: bool = False
    short: str = ""
    also: tuple[str, ...] = ()


# --- reading values --------------------------------------------------------------------------------------------------

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|us|µs|ns|m|s)")


def duration(text: str) -> float:
    """Read a duration as Go writes it (`30s`, `1m30s`, `100ms`, `0`) into seconds; raises ValueError."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    parts = _PART.findall(rest) if rest.isascii() or "µ" in rest else []
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"{text!r} is no duration; write it as 30s, 1m30s or 100ms")
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def boolean(text: str) -> bool:
    """Read a boolean as Go does; raises ValueError."""
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if text in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def integer(text: str) -> int:
    """Read a whole number in decimal; raises ValueError."""
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def decimal(text: str) -> float:
    """Read a number; raises ValueError."""
    if not re.fullmatch(r"[+-]?([0-9]{1,9}(\.[0-9]*)?|\.[0-9]+)", text):
        raise ValueError(f"{text!r} is no number")
    return float(text)


def gates(text: str) -> tuple[tuple[str, bool], ...]:
    """Read feature gates: `Name=true,Other=false`; raises ValueError."""
    found = []
    for entry in listed(text):
        name, equals, value = entry.partition("=")
        if not equals:
            raise ValueError(f"{entry!r} is no feature gate; write it as Name=true or Name=false")
        found.append((name.strip(), boolean(value.strip())))
    return tuple(found)


def word(text: str) -> str:
    """Read a text: blanks around it mean nothing."""
    return text.strip()


def listed(text: str) -> tuple[str, ...]:
    """Read a comma-separated list; empty entries mean nothing."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def scheduler(text: str) -> str:
    """Read a scheduler's name; none means rr, as in KubeProxyConfiguration (IPVS-04)."""
    return text.strip() or "rr"


def external_ips(text: str) -> str:
    """Read what becomes of external IPs, in either case."""
    return text.strip().lower()


# --- the table -------------------------------------------------------------------------------------------------------

ROUTING_FLAGS = (
    Flag("proxy-mode", "mode", word, "MODE", "How the kernel is programmed: iptables or ipvs."),
    Flag(
        "manifests", "manifests", word, "DIR",
        "Folder with manifests (YAML or JSON): Services, EndpointSlices, Nodes ... Default: they come from the Kubernetes API.",
    ),
    Flag("hostname-override", "hostname_override", word, "NODE", "Name of this node, as its Node object has it. Default: the host's name."),
    Flag("bind-address", "bind_address", word, "IP", "This node's IP; 0.0.0.0 or :: take the Node object's."),
    Flag("cluster-cidr", "cluster_cidr", listed, "CIDR[,CIDR]", "Range of all pods, one per family; other sources are masqueraded."),
    Flag(
        "detect-local-mode", "detect_local_mode", word, "MODE",
        "How traffic of this node's pods is recognised: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix.",
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
    Flag("ipvs-scheduler", "ipvs_scheduler", scheduler, "NAME", "How IPVS picks: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh."),
    Flag(
        "ipvs-exclude-cidrs", "ipvs_exclude_cidrs", listed, "CIDR[,...]",
        "Addresses that the ipvs mode leaves to others: it programs no virtual server there, and removes none.", many=True,
    ),
    Flag(
        "external-ips", "external_ips", external_ips, "POLICY",
        "Which spec.externalIPs are honoured: allow (all), deny (none), or ranges (those in --external-ip-ranges).",
    ),
    Flag("external-ip-ranges", "external_ip_ranges", listed, "CIDR[,...]", "Ranges for --external-ips=ranges.", many=True),
)
"""What decides which rules are wanted: flags of `run` and of `plan`."""

AGENT_FLAGS = (
    Flag("iptables-variant", "iptables_variant", word, "VARIANT", "Which iptables: legacy, nft, or auto (what the host uses)."),
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
    Flag("healthz-bind-address", "healthz_bind_address", word, "IP:PORT", "Where /healthz and /livez are served; empty: nowhere."),
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
    Flag("config-sync-period", "config_sync_period", duration, "DURATION", "How often objects are compared with the Kubernetes API's."),
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
    Flag("oom-score-adj", "oom_score_adj", integer, "NUMBER", "Written to /proc/self/oom_score_adj, if the kernel allows it."),
    Flag("v", "verbosity", integer, "LEVEL", "How much is logged: 0 events, 4 each step, 8 libraries too.", short="-v"),
    Flag("logging-format", "logging_format", word, "FORMAT", "text or json."),
)
"""What only a running agent needs."""

RUN_FLAGS = ROUTING_FLAGS + AGENT_FLAGS

NAMES: Mapping[str, str] = {flag.field: "-v" if flag.short else f"--{flag.name}" for flag in RUN_FLAGS}
"""What people call the fields of `Config` on the command line."""


class FlagCommand(click.Command):
    """A command whose options are `Flag`s: it takes Go's grammar, and keeps what it cannot place instead of stopping at the first."""

    def __init__(self, *args: object, flags: Sequence[Flag] = (), **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.flags = flags
        self.params[:0] = [_option(flag) for flag in flags]
        self.context_settings.update(ignore_unknown_options=True, allow_extra_args=True, max_content_width=120)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Translate Go's grammar to click's; a flag at the end without its value is kept as a problem for `load`."""
        ctx.meta["pointsman.problems"] = problems = []
        args = [_from_go(argument, self.flags) for argument in args]
        try:
            return super().parse_args(ctx, list(args))
        except click.BadOptionUsage as error:
            problems.append(f"{error.option_name}: needs a value")
            return super().parse_args(ctx, args[:-1])


def load(ctx: click.Context, values: Mapping[str, object], check: Callable[[Config], tuple[ConfigProblem, ...]]) -> Config:
    """Return the configuration that the flags ask for, or end the command with everything that is wrong and exit status 2."""
    command = ctx.command
    assert isinstance(command, FlagCommand)
    given = {flag.field: _texts(values.get(flag.field)) for flag in command.flags}
    config, found = read(command.flags, given)
    broken = {problem.field for problem in found}
    found += tuple(problem for problem in check(config) if problem.field not in broken)
    lines = [*ctx.meta["pointsman.problems"], *_strays(ctx.args, command.flags), *told(given, found)]
    if lines:
        _refuse(ctx, lines)
    return config


def read(flags: Iterable[Flag], given: Values) -> tuple[Config, tuple[ConfigProblem, ...]]:
    """Return the configuration and what could not be read; those fields keep their defaults. The last of repeated flags counts."""
    settings: dict[str, object] = {}
    problems: list[ConfigProblem] = []
    for flag in flags:
        for text in given.get(flag.field, ()):
            try:
                value = flag.read(text)
            except ValueError as error:
                problems.append(ConfigProblem(flag.field, str(error)))
                continue
            before = settings.get(flag.field, ())
            value = (*before, *value) if flag.many and isinstance(value, tuple) and isinstance(before, tuple) else value
            settings.update(dict.fromkeys((flag.field, *flag.also), value))
    return structs.replace(Config(), **settings), tuple(problems)


def told(given: Values, problems: Iterable[ConfigProblem]) -> list[str]:
    """Return problems in the words of the command line: `--flag=value: text`."""
    lines = []
    for problem in problems:
        texts = given.get(problem.field, ())
        name = NAMES.get(problem.field, problem.field)
        lines.append(f"{name}={','.join(texts)}: {problem.text}" if texts else f"{name}: {problem.text}")
    return lines


def _option(flag: Flag) -> click.Option:
    names = [flag.short or f"--{flag.name}", flag.field]
    return click.Option(names, type=str, multiple=True, metavar=flag.metavar, help=f"{flag.help}{_default(flag)}")


def _default(flag: Flag) -> str:
    """Return the default as Go would write it; nothing where it is empty, for then the help says what that means."""
    value = getattr(Config(), flag.field)
    if value in ("", ()):
        return ""
    seconds = "s" if flag.read is duration else ""
    text = f"{value:g}{seconds}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
    return f"  [default: {text}]"


def _from_go(argument: str, flags: Iterable[Flag]) -> str:
    """Return an argument as click reads it: a lone switch gets its value, and `-v=2` becomes `-v2`."""
    for flag in flags:
        if flag.switch and argument == f"--{flag.name}":
            return f"{argument}=true"
        if flag.short and argument.startswith(f"{flag.short}="):
            return flag.short + argument.removeprefix(f"{flag.short}=")
        if flag.short and (argument == f"-{flag.short}" or argument.startswith(f"-{flag.short}=")):
            return _from_go(argument[1:], (flag,))
    return argument


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, tuple | list) else ()


def _strays(arguments: Iterable[str], flags: Iterable[Flag]) -> list[str]:
    """Return a line for each argument that has no place (CFG-41); the value after an unknown flag is told with the flag."""
    lines = []
    after_flag = False
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            name = argument.partition("=")[0]
            close = get_close_matches(name, [f"--{flag.name}" for flag in flags], n=1, cutoff=0.8)
            lines.append(f"{name}: unknown flag{f'; did you mean {close[0]}?' if close else ''}")
            after_flag = "=" not in argument
        else:
            if not after_flag:
                lines.append(f"{argument!r}: unexpected argument; everything is said by flags")
            after_flag = False
    return lines


def _refuse(ctx: click.Context, lines: Sequence[str]) -> NoReturn:
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    text = "".join(f"  {line}\n" for line in lines)
    click.echo(f"{ctx.command_path}: {count} in the flags:\n{text}Nothing was changed. See `{ctx.command_path} --help`.", err=True)
    ctx.exit(USAGE_STATUS)
