"""The peer: a real kube-proxy of the control plane's release on a node of the laboratory, and what it leaves in that node's kernel."""

import os
import re
import subprocess
from pathlib import Path

from plane import Process
from plane_wait import until
from pointsman.iptables.run import find_program

TOOLS = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
MODULES = Path("/run/modules")
"""Where the modules are under User-Mode Linux (tools/uml); kube-proxy does not clean up IPVS if it cannot load it (IPVS-40)."""
BY_CHANCE = re.compile(r" (hashsize|initval) \w+")
HEALTH = "127.0.0.1:10299"
SETTINGS = (
    f"--healthz-bind-address={HEALTH}", "--metrics-bind-address=127.0.0.1:10298", "--oom-score-adj=0", "--conntrack-max-per-core=0",
    "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0", "-v=2",
)


class KubeProxy:
    """A kube-proxy on a node, in a mode and, for mode iptables, with the tools of a variant. Its log and lock are in `scratch`."""

    def __init__(self, plane, binaries, node, mode, variant, scratch):
        self.lab, self.node, self.mode, self.variant = plane.lab, node, mode, variant
        tools = scratch / f"{variant}-tools"
        tools.mkdir(exist_ok=True)
        for name in TOOLS if variant else ():
            plain, _, rest = name.partition("-")
            link = tools / name
            if not link.exists():
                link.symlink_to(find_program(f"{plain}-{variant}" + (f"-{rest}" if rest else "")))
        if MODULES.exists():
            (tools / "modprobe").write_text(f'#!/bin/sh\nexec {find_program("modprobe")} -d {MODULES} "$@"\n')
            (tools / "modprobe").chmod(0o755)
        self.environment = {"PATH": f"{tools}:{os.environ['PATH']}:/usr/sbin:/sbin", "XTABLES_LOCKFILE": str(scratch / f"{node}.lock")}
        self.program = binaries / "kube-proxy"
        command = (self.program, f"--kubeconfig={plane.admin_kubeconfig()}", f"--hostname-override={node}", f"--proxy-mode={mode}",
                   "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48", *SETTINGS)
        self.process = Process(plane.lab, node, scratch / f"kube-proxy-{node}.log", command, self.environment)

    @property
    def log(self):
        return self.process.log

    async def start(self):
        """Start it and wait until its own rules are in the kernel."""
        await self.process.start()
        await until(self.programmed)

    async def programmed(self):
        """Return whether the kernel holds what kube-proxy itself writes."""
        assert self.process.running, f"kube-proxy ended:\n{self.process.tail(40)}"
        if self.mode == "nftables":
            return all("service-ips" in self.run(f"nft list map {family} kube-proxy service-ips") for family in ("ip", "ip6"))
        saved = [self.run(f"{tool}-{self.variant}-save -t nat") for tool in ("iptables", "ip6tables")]
        if self.mode == "ipvs":
            return all("-j KUBE-NODE-PORT" in text for text in saved)
        return all("-A KUBE-SVC-" in text and " -j KUBE-DST" not in text.partition("-A KUBE-SERVICES")[2] for text in saved)

    async def stop(self):
        await self.process.stop()

    def run(self, command, *, check=False):
        """Run a command line in the node's namespace; return its output."""
        inside, environment = self.lab.command(self.node, *command.split()), {**os.environ, **self.environment}
        done = subprocess.run(inside, capture_output=True, text=True, check=False, env=environment)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def clean(self):
        """Let kube-proxy remove what it wrote in any mode, and remove what it forgets: of its mode ipvs the sets of IPv6."""
        self.run(f"{self.program} --cleanup")
        for name in self.run("ipset list -name").split():
            if name.startswith("KUBE-6-"):
                self.run(f"ipset destroy {name}")  # refused where a rule still uses it

    def kernel_state(self):
        """Return everything in the node's kernel, by tool and sorted, without counters and what differs by chance."""
        found = {}
        for variant in ("legacy", "nft"):
            for tool in ("iptables", "ip6tables"):
                found[tool, variant] = self._rules(f"{tool}-{variant}-save") if variant == "nft" or self._legacy(tool) else []
        found["sets"] = sorted(BY_CHANCE.sub("", line) for line in self.run("ipset save").splitlines() if line.startswith("create"))
        tables = ("\n".join(self.run(f"nft list table {family} kube-proxy") for family in ("ip", "ip6"))).replace("elements = {", "\n")
        found["servers"] = sorted(re.sub(r" -w \d+$", "", line) for line in self.run("ipvsadm -Sn").splitlines())
        found["addresses"] = sorted(line.split()[3] for line in self.run("ip -o addr show dev kube-ipvs0").splitlines())
        found["nftables"] = sorted(filter(None, (part.strip("{} \t") for part in re.split(r",|\n", tables))))
        return found

    def _legacy(self, tool):
        return bool(self.run(f"cat /proc/net/{'ip6' if tool == 'ip6tables' else 'ip'}_tables_names"))

    def _rules(self, command):
        lines = (re.sub(r"\[\d+:\d+\]", "", line).strip() for line in self.run(command).splitlines())
        table, found = "", []
        for line in lines:
            if line.startswith("*"):
                table = line
            elif line and not line.startswith(("#", "COMMIT")):
                found.append(f"{table} {line}")
        return sorted(found)


def leftovers(state):
    """Return what of kube-proxy or ours, except for kubelet's chain, is in a kernel, line by line."""
    whole = ("nftables", "servers", "addresses")
    found = [line for what, lines in state.items() if what not in whole for line in lines if "KUBE-FIREWALL" not in line]
    return [line for line in found if "KUBE-" in line or "POINTSMAN" in line] + [line for what in whole for line in state[what]]
