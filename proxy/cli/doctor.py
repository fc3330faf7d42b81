"""`pointsman doctor`: one look over everything that keeps Services from working on this machine, or will. Read-only.

`proxy.machine` reads, `explain.machine` judges; what the agent and the kernel disagree about comes from `diff`. `--bundle` packs what a
report of a defect needs, with secrets left out (`doctor_bundle`).
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec import Struct, structs
from pointsman.explain.findings import Finding, Level
from pointsman.explain.machine import findings
from pointsman.kube.events import Problem
from pointsman.proxy.cli import wanted
from pointsman.proxy.comparison import TRACKED, DiffReport, compare
from pointsman.proxy.config import Config
from pointsman.proxy.flags import FlagCommand, load
from pointsman.proxy.known import Known
from pointsman.proxy.report import SCHEMA
from pointsman.routing.route import FrontendKind

EPILOG = f"""\b
Examples:
  pointsman doctor
  pointsman doctor -o json | jq '.findings[] | select(.level == "bad")'
  pointsman doctor --bundle /tmp/pointsman.tar.gz       everything that a report of a defect needs, without secrets

{wanted.STATUS}
\b
What is examined: the kernel and what the mode needs of it, settings (forwarding, filtering by the way back, bridges, IPVS), MTU, connection
tracking, other programs' rules that can refuse packets, kube-proxy and firewalld, both variants of iptables, addresses that conflict, the
clock, whether the API server (where --kubeconfig or --master says which) and the DNS that pods ask answer, the age of the agent's news;
and whether the kernel holds what is wanted.

\b
Exit status:
  0  nothing bad (warnings are told)
  1  something is bad
  2  the command line is wrong
"""

class DoctorReport(Struct, frozen=True, rename="camel"):
    """The document."""

    schema: str
    node: str
    mode: str
    findings: tuple[Finding, ...]


@click.command("doctor", cls=FlagCommand, flags=wanted.SOURCE_FLAGS, epilog=EPILOG)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people, or for programs.")
@click.option("--all", "everything", is_flag=True, help="Also what was looked at and is well.")
@click.option("--bundle", type=click.Path(dir_okay=False), help="Pack what a report of a defect needs into this file (.tar.gz).")
@click.pass_context
def command(ctx: click.Context, /, output: str, bundle: str | None, *, everything: bool, **values: object) -> int:
    """Examine this machine: what keeps Services from working, and what will; each finding with the command that mends it."""
    known: Known | None = None
    absent = ""
    try:
        known = wanted.known(ctx, values)
    except wanted.WantedError as error:
        absent = error.format_message()
    config = known.picture.config if known else load(ctx, values, wanted.check).config
    found = _packed(Path(bundle), config, known, absent) if bundle else asyncio.run(examine(config, known, absent))[0]
    if output == "json":
        wanted.write(found)
    else:
        click.echo(text(found, everything=everything), nl=False)
    return 1 if any(one.level is Level.BAD for one in found.findings) else 0


def _packed(target: Path, config: Config, known: Known | None, absent: str) -> DoctorReport:
    """Examine, and pack what a report of a defect needs."""
    from pointsman.proxy.cli import doctor_bundle  # noqa: PLC0415 - only when asked for

    with ExitStack() as stack:
        with _writing(target):
            into = stack.enter_context(doctor_bundle.opened(target))
        found, differences = asyncio.run(examine(config, known, absent))
        with _writing(target):
            count = doctor_bundle.pack(into, found, differences, known)
    click.echo(f"packed {count} files into {target}", err=True)
    return found


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.BadParameter(f"{target} cannot be written: {error.strerror or error}", param_hint="--bundle") from error


async def examine(config: Config, known: Known | None, absent: str = "") -> tuple[DoctorReport, DiffReport | None]:
    """Look at everything; `absent` says why nothing is known of what is wanted."""
    from pointsman.proxy.cli import doctor_reach  # noqa: PLC0415 - as below
    from pointsman.proxy.machine import machine  # noqa: PLC0415 - loads the modes, which --help need not wait for

    seen = structs.replace(await machine(config), node_ports=_node_ports(known) if known else ())
    found = list(findings(seen))
    differences = await compare(known) if known is not None else None
    found += await doctor_reach.reach(config, known)
    if known is None:
        fix = "systemctl status kubelet; kubectl -n kube-system get pods -o wide"
        found.append(Finding(Level.BAD, "agent", absent, "nobody follows changes of Services on this node", fix))
    else:
        found += of_agent(known)
    if differences is not None:
        found += of_kernel(differences)
    order = {level: place for place, level in enumerate(Level)}
    found.sort(key=lambda one: order[one.level])
    node = known.picture.node.name if known else config.hostname_override
    return DoctorReport(SCHEMA, node, config.mode, tuple(found)), differences


def _node_ports(known: Known) -> tuple[int, ...]:
    """Return the node ports of all Services."""
    frontends = (one for route in known.picture.routes for one in route.frontends())
    return tuple(sorted({one.port for one in frontends if one.kind is FrontendKind.NODE_PORT}))


def of_agent(known: Known) -> list[Finding]:
    """Return what the agent's own account shows: objects that are not used, news that have become old, changes that wait."""
    seen, found = known.picture, []
    for notice in seen.notices:
        level = Level.BAD if notice.severity == "refused" else Level.WARN
        fix = f"kubectl get {notice.subject.partition(' ')[0].lower()} -A -o yaml" if " " in notice.subject else "see the text"
        why = "it is not used as it was written" if notice.severity == "refused" else "it works as written, which may not be what is meant"
        found.append(Finding(level, "objects", f"{notice.subject}: {notice.field}: {notice.text}", why, fix))
    if seen.waiting_for:
        text = f"the agent waits for {', '.join(seen.waiting_for)}"
        found.append(Finding(Level.BAD, "api", text, "nothing is programmed before these are complete", "look at the agent's log"))
    found += [_unread(problem) for problem in seen.problems]
    for status in seen.families:
        if status.failing_keys or status.apply.last_error:
            text = f"{status.family}: {status.failing_keys} objects are refused by the kernel {status.apply.last_error}".rstrip()
            found.append(Finding(Level.BAD, "agent", text, "what is wanted is not programmed", "pointsman status"))
        if status.queued_at is not None:
            age = (datetime.now(UTC) - status.queued_at).total_seconds()
            text = f"{status.family}: the last change came {age:.0f} s ago"
            why = "since then the agent may have missed changes, as not all could be read" if seen.problems else ""
            found.append(Finding(Level.WARN if why else Level.OK, "api", text, why, "pointsman status" if why else ""))
        if status.in_sync_since is not None:
            found.append(Finding(Level.OK, "agent", f"{status.family}: all is applied, as the agent holds it"))
    return found


def _unread(problem: Problem) -> Finding:
    """Return the finding about what the agent could not read: an object, or kinds of objects altogether."""
    kind, _, name = problem.subject.partition(" ")
    if "/" in name:
        space, _, name = name.partition("/")
        why, fix = "it counts as absent: nothing is programmed for it", f"kubectl -n {space} get {kind.lower()} {name} -o yaml"
        return Finding(Level.BAD, "objects", str(problem), why, fix)
    why = "changes of Services and endpoints do not arrive, or not all; what is programmed stays as it is"
    return Finding(Level.BAD, "api", str(problem), why, "look at the agent's log; is the API server reached, and may the agent read?")


def of_kernel(found: DiffReport) -> list[Finding]:
    """Return whether the kernel holds what is wanted."""
    findings_ = [Finding(Level.BAD, "kernel", one, "it is not known what the kernel holds", "ask as root") for one in found.unread]
    listed = [one for one in found.differences if not one.where.startswith("sysctl ")]  # these are findings of their own
    for one in listed[:20]:
        if one.where.startswith(TRACKED):
            of = f" --service {one.subject.partition(' ')[0].partition(':')[0]}" if "/" in one.subject else ""
            fix = f"pointsman conntrack flush --class {one.where.removeprefix(TRACKED)}{of} --proto udp --yes"
            findings_.append(Finding(Level.BAD, one.subject, one.text, "a sender that keeps its socket is not answered", fix))
            continue
        fix = "kubectl -n kube-system logs -l app.kubernetes.io/name=pointsman; the agent repairs it when it reads the kernel again"
        findings_.append(Finding(Level.BAD, one.subject, one.text, f"the kernel holds otherwise than wanted: {one.where}", fix))
    if len(listed) > 20:
        text = f"{len(listed) - 20} more differences"
        findings_.append(Finding(Level.BAD, "kernel", text, "the kernel holds otherwise than wanted", "pointsman diff"))
    if not findings_:
        findings_.append(Finding(Level.OK, "kernel", "the kernel holds exactly what is wanted"))
    return findings_


def text(found: DoctorReport, *, everything: bool) -> str:
    """Return the findings for people, the worst first."""
    lines = []
    for one in found.findings:
        if one.level is Level.OK and not everything:
            continue
        lines.append(f"{one.level.value:<5} {one.topic}: {one.text}")
        lines += [f"      why: {one.why}"] if one.why else []
        lines += [f"      fix: {one.fix}"] if one.fix else []
    counts = {level: sum(one.level is level for one in found.findings) for level in Level}
    more = "" if everything else " (--all shows them)"
    lines.append(f"{counts[Level.BAD]} bad, {counts[Level.WARN]} warnings, {counts[Level.OK]} well{more}")
    return "\n".join(lines) + "\n"
