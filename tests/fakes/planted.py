"""A node of the shop in a scratch namespace, programmed as an agent would, for commands that look at it; without an agent or packets."""

import asyncio
import io
import subprocess
from contextlib import redirect_stdout
from importlib import import_module

import click
from click.testing import CliRunner
from fakes.scratch import shell
from pointsman.dataplane import plan as planning
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.proxy.cli.main import COMMANDS
from pointsman.proxy.config import Config
from pointsman.proxy.demo import manifests
from pointsman.proxy.demo.lab_topology import POD_RANGE
from pointsman.proxy.known import from_source
from pointsman.proxy.modes import ipvs_options
from pointsman.routing.route import Family

ADDRESSES = ("192.168.50.{}/24", "fd00:50::{}/64", "10.244.{}.1/24", "fd00:10:244:{}::1/64")
SETTINGS = (
    "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
)  # fmt: skip
SOURCE = ("--manifests", str(manifests.SHOP), "--cluster-cidr", ",".join(POD_RANGE.values()))
OPTIONS = (*SOURCE, "--hostname-override", "n1")


def config(mode, variant, node="n1"):
    return Config(mode=mode, manifests=str(manifests.SHOP), hostname_override=node, cluster_cidr=tuple(POD_RANGE.values()),
                  iptables_variant=variant)  # fmt: skip


def prepare(node="n1"):
    """Give the namespace what a node has: addresses, a way to the pods, settings."""
    here, there = ("1", "2") if node == "n1" else ("2", "1")
    shell("ip link add eth0 type veth peer name peer; ip link set eth0 up; ip link set peer up")
    for address in ADDRESSES:
        shell(f"ip addr add {address.format(here)} dev eth0 {'nodad' if ':' in address else ''}")
    shell(f"ip route add 10.244.{there}.0/24 via 192.168.50.{there}; ip route add default via 192.168.50.{there}")
    shell(f"ip -6 route add fd00:10:244:{there}::/64 via fd00:50::{there}")
    for setting in SETTINGS:
        shell(f"sysctl -q -w {setting}")


async def program(mode, variant, node="n1"):
    """Write what an agent would have written, both families, and stop."""
    chosen = config(mode, variant, node)
    known = await asyncio.to_thread(from_source, chosen)
    routing, facts = known.picture.routing(), known.picture.node
    for family in Family:
        if mode == "ipvs":
            compiler = IpvsCompiler(family, ipvs_options(chosen))
            kernel = IpvsKernel(family, Variant(variant), Writer(), Settings())
        else:
            compiler, kernel = IptablesCompiler(family), IptablesKernel(family, Variant(variant), Writer())
        outcome = await kernel.apply(planning.from_scratch(compiler, family, routing, facts))
        assert not outcome.failed, outcome.failed
        if mode == "ipvs":
            await kernel.close()


def plant(fault, variant):
    for command in fault.steps(variant):
        subprocess.run(command, shell=True, check=True, capture_output=True)


def invoke(name, mode, variant, *arguments, node="n1"):
    """Run a command without an agent; return its exit status and what it printed."""
    command = import_module(COMMANDS[name][0]).command
    said = io.StringIO()
    with redirect_stdout(said):
        options = [*SOURCE, "--hostname-override", node, "--proxy-mode", mode]
        options += [] if name == "plan" else ["--iptables-variant", variant]
        result = CliRunner().invoke(command, [*options, *arguments], standalone_mode=False)
    if isinstance(result.exception, click.ClickException):
        return result.exception.exit_code, f"Error: {result.exception.format_message()}\n"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.return_value, result.output + said.getvalue()
