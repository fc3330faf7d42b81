"""What docs/debugging.md shows, produced anew: commands on a node of the shop with a planted fault, or without one."""

import asyncio
import re
from contextlib import ExitStack

from fakes.planted import invoke, plant, prepare, program
from fakes.scratch import namespace
from pointsman.proxy.demo import manifests
from pointsman.proxy.demo.faults import FAULTS

VARIANT = {"iptables": "nft", "ipvs": "legacy"}
BY_NAME = {fault.name: fault for fault in FAULTS}
TILL = ("--from", "pod/shop/till-0")
SHOWN = {
    # name of the block: (mode, fault or none, node, command and its arguments)
    "stale-flow": ("iptables", "stale-flow", "n1", ("explain", *TILL, "--to", "statsd.monitoring:8125", "--protocol", "udp")),
    "stale-flow-diff": ("iptables", "stale-flow", "n1", ("diff",)),
    "foreign-flush": ("iptables", "foreign-flush", "n1", ("diff", "--service", "shop/web")),
    "policy-drop": ("iptables", "policy-drop", "n1", ("explain", *TILL, "--to", "web.shop:80")),
    "changed-target": ("iptables", "changed-target", "n1", ("explain", *TILL, "--to", "web.shop:80")),
    "removed-element": ("iptables", "removed-element", "n1", ("explain", "--to", "web.shop:80")),
    "wrong-setting": ("iptables", "wrong-setting", "n1", ("explain", *TILL, "--to", "web.shop:80")),
    "source-lost": ("iptables", "", "n1", ("explain", "--from", "198.51.100.7", "--to", "nodeport/30080")),
    "local-policy": ("iptables", "", "n2", ("explain", "--from", "198.18.1.10", "--to", "203.0.113.10:443")),
    "no-port": ("iptables", "", "n1", ("explain", *TILL, "--to", "10.96.10.1:8080")),
    "wrong-name": ("iptables", "", "n1", ("explain", *TILL, "--to", "statsd:8125", "--protocol", "udp")),
    "mode-switch": ("", "", "n1", ("plan", "--diff", "iptables", "ipvs")),
    "missing-server": ("ipvs", "missing-server", "n1", ("explain", *TILL, "--to", "web.shop:80")),
}


def produce(name):
    """One block: the command line as a person gives it, and what it prints."""
    mode, fault, node, (command, *arguments) = SHOWN[name]
    family = ("--family", "IPv4") if command == "explain" else ()
    with ExitStack() as stack:
        if mode:
            stack.enter_context(namespace())
            prepare(node)
            asyncio.run(program(mode, VARIANT[mode], node))
        if fault:
            plant(BY_NAME[fault], VARIANT[mode])
        _, said = invoke(command, mode or "iptables", VARIANT[mode or "iptables"], *arguments, *family, node=node)
    return f"$ {' '.join(['pointsman', command, *arguments])}\n{plain(said)}"


def plain(said):
    """Output without what depends on the place, or changes with every rule that is added somewhere."""
    said = said.replace(str(manifests.SHOP), "examples/shop")
    return re.sub(r"\b\d+ (?=rules \(|sets\b|objects of the kernel come|virtual servers,|go$)", "N ", said, flags=re.MULTILINE)


def row(fault, mode):
    """One row of the table of faults: what each command says of it."""
    variant = VARIANT[mode]
    with namespace():
        prepare()
        asyncio.run(program(mode, variant))
        plant(fault, variant)
        source, target, protocol = fault.question
        question = ("--from", source, "--to", target, "--protocol", protocol, "--family", "IPv4")
        said = {"explain": invoke("explain", mode, variant, *question)[1], "diff": invoke("diff", mode, variant)[1],
                "doctor": invoke("doctor", mode, variant)[1]}  # fmt: skip
    cells = [best(plain(text), fault.named[name]) for name, text in said.items()]
    return f"| {fault.done} | {' | '.join(f'`{short(cell)}`' for cell in cells)} |"


def best(said, words):
    """The line that names the cause, the verdict if it does."""
    lines = [line.strip() for line in said.splitlines() if words in line]
    return next((line for line in lines if line.startswith("verdict: ")), lines[0])


def short(cell):
    return re.sub(r"\s+", " ", cell.replace("|", "/"))


def table(mode):
    """The table of faults of one mode, those that are planted alike in both under iptables."""
    rows = [row(fault, mode) for fault in FAULTS if (mode in fault.modes if fault.modes else mode == "iptables")]
    return "\n".join(["| planted | `pointsman explain` | `pointsman diff` | `pointsman doctor` |", "|---|---|---|---|", *rows])


def blocks(text):
    """The produced parts of the document by name."""
    return dict(re.findall(r"<!-- produced: (\S+) -->\n(.*?)\n<!-- end -->", text, re.DOTALL))


def replaced(text, made):
    """The document with produced parts put in."""
    def put(match):
        return f"<!-- produced: {match[1]} -->\n{made[match[1]]}\n<!-- end -->" if match[1] in made else match[0]

    return re.sub(r"<!-- produced: (\S+) -->\n(.*?)\n<!-- end -->", put, text, flags=re.DOTALL)


def fenced(said):
    return f"```text\n{said.rstrip()}\n```"
