"""The core is pure: it does no input or output, reads no clock, throws no dice; time is an argument."""

import fnmatch

PURE = (
    "kube.objects", "kube.events", "kube.decode", "kube.share", "kube.documents", "kube.folder", "kube.yamltree",
    "kube.detour", "kube.errors", "kube.listing", "kube.reflector", "kube.resource", "kube.stream", "kube.throttle",
    "routing", "routing.*",
    "dataplane", "dataplane.*",
    "netlink.codec", "netlink.generic", "netlink.ipsets", "netlink.nftables",
    "iptables.objects", "iptables.counters", "iptables.names", "iptables.rule", "iptables.dispatch",
    "explain", "explain.*",
    "iptables.matching", "iptables.passage", "iptables.ruleset", "iptables.setlist", "iptables.tracer", "iptables.traffic",
    "iptables.walk", "iptables.words", "ipvs.tracer", "ipvs.words", "proxy.picture", "proxy.demo.faults",
    "iptables.static", "iptables.service", "iptables.firewall", "iptables.local_dns", "iptables.balance", "netlink.route",
    "proxy.dns", "proxy.dns.defaults", "proxy.dns.frontends", "proxy.dns.gate", "proxy.dns.former", "proxy.dns.text", "proxy.dns.wishes",
    "iptables.compile", "iptables.render", "iptables.parse", "iptables.isolate", "iptables.removal", "iptables.failure",
    "ipvs.objects", "ipvs.schedulers", "ipvs.wire", "ipvs.answers", "ipvs.keys", "ipvs.names", "ipvs.filter", "ipvs.frontends",
    "ipvs.dns_frontends", "ipvs.compile", "ipvs.render", "ipvs.parse", "ipvs.drain", "ipvs.ownership", "ipvs.removal", "ipvs.whose",
    "dns.corefile", "dns.corefile.findings", "dns.corefile.keys", "dns.corefile.lexer", "dns.corefile.load", "dns.corefile.options",
    "dns.corefile.parser",
    "dns.corefile.places", "dns.corefile.read_answers", "dns.corefile.read_cache", "dns.corefile.read_forward",
    "dns.corefile.read_kubernetes", "dns.corefile.read_server", "dns.corefile.table", "dns.corefile.values",
    "dns.classify", "dns.plugins.store", "dns.resolvconf",
    "dns.apex", "dns.books", "dns.catalog", "dns.contract", "dns.decode", "dns.denial", "dns.encode", "dns.entries", "dns.facts",
    "dns.feed", "dns.hot", "dns.journal", "dns.limit", "dns.names", "dns.owners", "dns.question", "dns.reply", "dns.resolve",
    "dns.reverse", "dns.tally",
    "conntrack.classify", "conntrack.flow", "conntrack.names", "conntrack.reconcile", "conntrack.tombstones",
    "proxy.changes", "proxy.drained", "proxy.histogram", "proxy.meters", "proxy.metrics_list", "proxy.pprof", "proxy.requests",
    "proxy.config_file", "proxy.flag_table", "proxy.gates", "proxy.idle", "proxy.loading", "proxy.settings", "proxy.values",
    "proxy.config", "proxy.facts", "proxy.report", "proxy.status", "proxy.demo.scene", "proxy.demo.lab_topology", "proxy.demo.lab_sctp",
)  # fmt: skip
IMPURE = {
    "asyncio", "socket", "ssl", "subprocess", "threading", "time", "random", "os", "pathlib",
    "concurrent", "multiprocessing", "secrets", "select", "selectors", "signal", "shutil", "tempfile",
    "aiohttp", "asyncinotify", "click", "pyroute2", "rich", "uvloop",
}  # fmt: skip


def pure(name):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PURE)


def test_pure_modules_import_nothing_with_effects(sources, judge):
    offences = [
        f"{source.at(node)}: pointsman.{source.name} imports {name}"
        for source in sources
        if pure(source.name)
        for node, name in source.imports()
        if name.split(".")[0] in IMPURE
    ]
    judge(offences, "pure modules have no effects: take the value (time, bytes, text) as an argument and let the edge fetch it")


def test_pure_modules_lean_only_on_pure_modules(sources, judge):
    """With the test above this makes purity transitive."""
    names = {source.name for source in sources}
    offences = [
        f"{source.at(node)}: pointsman.{source.name} imports {name}"
        for source in sources
        if pure(source.name)
        for node, name in source.imports()
        if (inner := name.removeprefix("pointsman.")) != name and inner in names and "." in inner and not pure(inner)
    ]
    judge(offences, "a pure module may import pure modules only: move what it needs into one, or pass it in")


def test_every_pure_name_stands_for_a_module(sources, judge):
    names = {source.name for source in sources}
    gone = [pattern for pattern in PURE if not fnmatch.filter(names, pattern)]
    judge([f"tests/house/test_purity.py:7: pointsman.{pattern} does not exist" for pattern in gone], "keep the list PURE true")


def test_pure_modules_do_not_print(sources, judge):
    offences = [
        f"{source.path}:{number}: {line.strip()}"
        for source in sources
        if pure(source.name)
        for number, line in enumerate(source.text.splitlines(), 1)
        if line.strip().startswith(("print(", "open("))
    ]
    judge(offences, "pure modules return values; the command line prints them")
