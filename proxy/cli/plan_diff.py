"""`pointsman plan --diff OLD NEW`: what a change would do before it is done; offline, and readable by programs that gate changes.

A side is a folder of manifests, a configuration file, or the name of a mode; everything else is said by the flags of `plan` and is the same
on both sides. So a change of Services, of settings, or of the mode itself can be asked about. `explain.change` compares.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import msgspec
from msgspec import Struct, structs
from pointsman.dataplane.contract import Compiler
from pointsman.explain.change import Count, Kind, RouteChange, changes, counted, notices
from pointsman.iptables.compile import IptablesCompiler
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.kube.events import Problem
from pointsman.proxy import config_file, loading
from pointsman.proxy import facts as facts_of
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Facts, Host
from pointsman.proxy.modes import MODES, ipvs_options
from pointsman.proxy.report import SCHEMA
from pointsman.routing.build import build
from pointsman.routing.route import Family, Notice, Routing
from pointsman.routing.snapshot import Snapshot

Read = Callable[[Config], tuple[Snapshot, Host, tuple[Problem, ...]]]
"""Returns what a configuration's folder says, a host as it describes it, and what could not be read."""


class Side(Struct, frozen=True):
    """One side: how it was named, its configuration, what an agent would make of it, and what of it could not be read."""

    name: str
    config: Config
    facts: Facts
    routing: Routing
    problems: tuple[Problem, ...] = ()


class PlanDiff(Struct, frozen=True, rename="camel"):
    """The document: Service ports that change, objects of the kernel by family, new notices, modes, and what of a side is unreadable."""

    schema: str
    node: str
    mode: tuple[str, str]
    changes: tuple[RouteChange, ...]
    objects: Mapping[str, Count]
    notices: tuple[Notice, ...]
    problems: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Return whether nothing would change."""
        same = all(one == Count() for one in self.objects.values())
        return same and not (self.changes or self.notices or self.problems) and self.mode[0] == self.mode[1]


def run(config: Config, old: str, new: str, output: str, read: Read) -> int:
    """Print what changes from one side to the other; return 1 if anything does, or if something could not be read."""
    found = compare(side(config, old, read), side(config, new, read))
    for problem in found.problems:
        click.echo(problem, err=True)
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        sys.stdout.buffer.flush()
    else:
        click.echo(text(found), nl=False)
    return 0 if found.empty else 1


def side(config: Config, name: str, read: Read) -> Side:
    """Return one side; raises click.UsageError with what it may be."""
    chosen = config
    if name in MODES:
        chosen = structs.replace(config, mode=name)
    elif Path(name).is_dir():
        chosen = structs.replace(config, manifests=name)
    elif Path(name).is_file():
        chosen = _of_file(config, Path(name))
    else:
        raise click.UsageError(f"{name!r} is no folder of manifests, no configuration file, and no mode ({', '.join(MODES)})")
    if not chosen.manifests:
        raise click.UsageError("name the folder of manifests with --manifests when the two sides are configurations or modes")
    snapshot, host, problems = read(chosen)
    facts = facts_of.gather(chosen, host, snapshot.nodes)
    return Side(name, chosen, facts, build(snapshot, facts.node, facts_of.external_ip_policy(chosen)), problems)


def _of_file(config: Config, path: Path) -> Config:
    """Return the configuration of a file; what only flags can say stays."""
    source = loading.Source(str(path), config_file.read(path.read_bytes()))
    loaded = loading.load((), {}, source, lambda _: ())
    if loaded.problems:
        raise click.UsageError("; ".join(loaded.problems))
    kept = {"manifests": config.manifests, "hostname_override": config.hostname_override or loaded.config.hostname_override}
    return structs.replace(loaded.config, **kept)


def compare(old: Side, new: Side) -> PlanDiff:
    """Return what changes from one side to the other."""
    objects = {family.value: counted(_objects(old, family), _objects(new, family)) for family in Family}
    return PlanDiff(
        SCHEMA,
        new.facts.node.name,
        (old.config.mode, new.config.mode),
        changes(old.routing, new.routing),
        objects,
        notices((*old.facts.notices, *old.routing.notices), (*new.facts.notices, *new.routing.notices)),
        tuple(dict.fromkeys(map(str, (*old.problems, *new.problems)))),
    )


def _objects(one: Side, family: Family) -> Mapping[object, object]:
    """Return everything that one family wants in the kernel."""
    options = ipvs_options(one.config)
    compiler: Compiler[object, object] = (
        IpvsCompiler(family, options) if one.config.mode == "ipvs" else IptablesCompiler(family)  # type: ignore[assignment]
    )
    found = dict(compiler.static(one.facts.node, one.routing))
    for key, route in one.routing.routes.items():
        if key.family is family:
            found.update(compiler.compile(route, one.facts.node))
    return found


def text(found: PlanDiff) -> str:
    """Return the report for people."""
    lines = []
    if found.mode[0] != found.mode[1]:
        lines.append(f"mode {found.mode[0]} → {found.mode[1]}: the new one is programmed first, then the old one leaves (docs/takeover.md)")
    sign = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}
    for one in found.changes:
        lines.append(f"{sign[one.kind]} {one.subject} ({one.family})")
        lines += [f"    {text}" for text in one.texts]
    lines += [f"! {one.severity.value}: {one}" for one in found.notices]
    for family, count in found.objects.items():
        if count != Count():
            lines.append(f"{family}: {count.added} objects of the kernel come, {count.changed} change, {count.removed} go")
    if not lines:
        lines.append(f"nothing {'that could be read ' if found.problems else ''}changes on node {found.node}")
    return "\n".join(lines) + "\n"
