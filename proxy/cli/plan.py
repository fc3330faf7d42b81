"""`pointsman plan`: what would be programmed, printed; no root, no kernel, nothing changed.

It is the daemon's own way from manifests to rules (decode, route, compile, render), ended before the kernel. What it prints for a folder is
what `run` writes for it into a kernel that holds nothing of ours, for a node with the addresses that its Node object has.
"""

import asyncio
import socket
import sys
from pathlib import Path

import click
import msgspec
from msgspec import structs
from pointsman.kube.events import Batch, Problem
from pointsman.kube.manifests import ManifestSource
from pointsman.proxy import facts as facts_of
from pointsman.proxy import flags
from pointsman.proxy.cli import run
from pointsman.proxy.config import Config, ConfigProblem, family_of
from pointsman.proxy.facts import Facts, Host
from pointsman.proxy.flag_table import PLAN_FLAGS
from pointsman.proxy.flags import FlagCommand
from pointsman.proxy.modes import MODES
from pointsman.routing.build import build
from pointsman.routing.route import Family, Routing
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

EPILOG = """\b
Examples:
  pointsman plan --proxy-mode iptables --manifests DIR --hostname-override n1 --cluster-cidr 10.244.0.0/16
  pointsman plan --diff BEFORE AFTER --hostname-override n1 --cluster-cidr 10.244.0.0/16      two folders of manifests
  pointsman plan --manifests DIR --diff iptables ipvs                                         two modes, or two configuration files
  pointsman plan --manifests DIR -o json | jq '.families.IPv4["shop/web:http tcp"]'

\b
Text is what the mode's own tools would be given, one part per IP family. JSON has the same by Service port,
with everything that was refused or could not be read. The node's addresses are its Node object's.

\b
Exit status:
  0  printed; nothing was refused or unreadable
  1  printed, but some objects are not used or not fully used: standard error says which and why
  2  the flags are wrong
  With --diff: 0 nothing would change, 1 something would (it is printed) or could not be read, 2 the flags are wrong.
"""


@click.command("plan", cls=FlagCommand, flags=PLAN_FLAGS, epilog=EPILOG)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
@click.option("--diff", "sides", nargs=2, metavar="OLD NEW", help="What would change between two folders, configuration files, or modes.")
@click.pass_context
def command(ctx: click.Context, /, output: str, sides: tuple[str, str] | None, **values: object) -> int:
    """Print what would be programmed into the kernel for a folder of manifests; changes nothing and needs no root."""
    if sides:
        from pointsman.proxy.cli import plan_diff  # noqa: PLC0415 - only when asked for

        config = flags.load(ctx, values, run.check).config
        return plan_diff.run(config, *sides, output, described)
    config = flags.load(ctx, values, check).config
    batch = asyncio.run(read(Path(config.manifests)))
    snapshot, _ = advance(EMPTY, batch)
    facts = facts_of.gather(config, host_of(config, snapshot), snapshot.nodes)
    routing = build(snapshot, facts.node, facts_of.external_ip_policy(config))
    mode = MODES[config.mode]
    if output == "json":
        document = {
            "node": facts.node.name,
            "mode": config.mode,
            "families": {family.value: mode.fragments(family, routing, facts.node, config) for family in Family},
            "notices": [*facts.notices, *routing.notices],
            "problems": batch.problems or (),
        }
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
    else:
        for family in Family:
            click.echo(f"## {family.value}\n{mode.text(family, routing, facts.node, config)}", nl=False)
    return report(batch, facts, routing)


def check(config: Config) -> tuple[ConfigProblem, ...]:
    """Return what is wrong with the configuration for somebody who has no API to ask."""
    needed = ConfigProblem("manifests", "is needed: the folder with the manifests of Services and EndpointSlices")
    late = run.unprogrammed(config)
    return (*run.check(config), *((late,) if late else ()), *(() if config.manifests else (needed,)))


async def read(folder: Path) -> Batch:
    """Return everything in a folder of manifests."""
    batches: list[Batch] = []
    arrived = asyncio.Event()

    def take(batch: Batch) -> None:
        batches.append(batch)
        arrived.set()

    reading = asyncio.create_task(ManifestSource(folder).run(take))
    reading.add_done_callback(lambda _: arrived.set())
    await arrived.wait()
    if not batches:
        await reading
    reading.cancel()
    await asyncio.wait({reading})
    return batches[0]


def described(config: Config) -> tuple[Snapshot, Host, tuple[Problem, ...]]:
    """Return what the folder of a configuration says, the host as it describes it, and what could not be read."""
    batch = asyncio.run(read(Path(config.manifests)))
    snapshot, _ = advance(EMPTY, batch)
    return snapshot, host_of(config, snapshot), batch.problems or ()


def host_of(config: Config, snapshot: Snapshot) -> Host:
    """Return a host as the manifests describe it: the Node that was named, else the only one there is; its addresses, and loopback."""
    host = Host(name=next(iter(snapshot.nodes)) if len(snapshot.nodes) == 1 else socket.gethostname())
    node = snapshot.nodes.get(facts_of.node_name(config, host))
    known = facts_of.addresses_of(node) if node else ()
    addresses = {
        family: (facts_of.LOOPBACK[family], *(address for address in known if family_of(address) is family)) for family in Family
    }
    return structs.replace(host, addresses=addresses)


def report(batch: Batch, facts: Facts, routing: Routing) -> int:
    """Write on standard error what was not used; return the exit status."""
    lines = [str(problem) for problem in batch.problems or ()]
    lines += [f"{notice.severity.value}: {notice}" for notice in (*facts.notices, *routing.notices)]
    for line in lines:
        click.echo(line, err=True)
    return 1 if lines else 0
