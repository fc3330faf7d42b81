"""`pointsman diff`: what the kernel holds otherwise than wanted, in words; nothing if all is well. Changes nothing."""

import asyncio

import click
from msgspec import Struct
from pointsman.dataplane.errors import KernelError
from pointsman.dataplane.trace import Difference
from pointsman.proxy.cli import wanted
from pointsman.proxy.flags import FlagCommand
from pointsman.proxy.known import Known
from pointsman.proxy.report import SCHEMA
from pointsman.proxy.status import FailingKey
from pointsman.routing.route import Family

EPILOG = f"""\b
Examples:
  pointsman diff                            beside a running agent
  pointsman diff --service shop/web         of one Service
  pointsman diff -o json | jq -e '.differences == []'
  pointsman diff --manifests DIR --hostname-override n1 --cluster-cidr 10.244.0.0/16

{wanted.STATUS}
\b
The wanted side is compiled anew, the kernel is read by this command itself: what the agent believes plays no part. A change that the
agent is just making may show; ask again. `since` and `because` come from the agent where it is at work on it.

\b
Exit status:
  0  no difference
  1  there are differences, or the kernel cannot be read
  2  the command line is wrong
  3  no agent answers, and no other source was named
"""

SHOWN = 200
"""So many differences are printed for people; JSON has all."""


class Entry(Struct, frozen=True, rename="camel"):
    """A difference with its family, since when the agent works on it, and why it is there, where that is known."""

    family: str
    subject: str
    text: str
    where: str
    wanted: str
    found: str
    since: str
    because: str


class DiffReport(Struct, frozen=True, rename="camel"):
    """The document."""

    schema: str
    node: str
    mode: str
    origin: str
    differences: tuple[Entry, ...]
    unread: tuple[str, ...] = ()


@click.command("diff", cls=FlagCommand, flags=wanted.SOURCE_FLAGS, epilog=EPILOG)
@click.option("--service", default="", metavar="NAMESPACE/NAME", help="Of one Service only, and of what belongs to no Service.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people, or for programs.")
@click.pass_context
def command(ctx: click.Context, /, service: str, output: str, **values: object) -> int:
    """Show what the kernel holds otherwise than wanted, in words; nothing if all is well."""
    found = asyncio.run(compare(wanted.known(ctx, values), service))
    if output == "json":
        wanted.write(found)
    else:
        click.echo(text(found), nl=False)
    return 1 if found.differences or found.unread else 0


async def compare(known: Known, service: str = "") -> DiffReport:
    """Read the kernel and return what differs."""
    from pointsman.proxy.inspection import inspector  # noqa: PLC0415 - loads the modes, which --help need not wait for

    seen, routing = known.picture, known.picture.routing()
    entries: list[Entry] = []
    unread: list[str] = []
    families = [Family(one.family) for one in seen.families] or list(Family)
    for family in families:
        try:
            looker = await inspector(seen.mode, seen.config, seen.variant)
            differences = await looker.differences(family, routing, seen.node)
        except KernelError as error:
            unread.append(f"{family.value}: {error}")
            continue
        failing = {key.subject: key for one in seen.families if one.family == family.value for key in one.failing}
        entries += [_entry(one, family, known, failing) for one in differences if _concerns(one, service)]
    return DiffReport(SCHEMA, seen.node.name, seen.mode, known.origin, tuple(entries), tuple(unread))


def _concerns(one: Difference, service: str) -> bool:
    return not service or one.subject == "node" or one.subject.partition(" ")[0].partition(":")[0] == service


def _entry(one: Difference, family: Family, known: Known, failing: dict[str, FailingKey]) -> Entry:
    key = failing.get(one.where)
    status = next((each for each in known.picture.families if each.family == family.value), None)
    if key is not None:
        since, because = f"{key.since:%Y-%m-%dT%H:%M:%SZ}", f"the kernel refuses it ({key.attempts} attempts): {key.text}"
    elif status is not None and status.pending_since is not None:
        since, because = f"{status.pending_since:%Y-%m-%dT%H:%M:%SZ}", "the agent has not applied its latest changes yet"
    elif status is not None and status.in_sync_since is not None:
        read = f"{status.read_at:%H:%M:%SZ}" if status.read_at else "its start"
        since, because = read, f"the agent last read the kernel at {read} and found it as wanted: somebody changed it since"
    else:
        since, because = "", "no agent was asked" if not known.live else "the agent has not programmed this family yet"
    return Entry(family.value, one.subject, one.text, one.where, one.wanted, one.found, since, because)


def text(found: DiffReport) -> str:
    """Return the report for people: differences by subject, each with the object in the mode's own words."""
    lines = [f"cannot be read: {one}" for one in found.unread]
    if not found.differences and not found.unread:
        return f"node {found.node}, mode {found.mode}: the kernel holds exactly what is wanted\n"
    last = ("", "")
    for one in found.differences[:SHOWN]:
        if (one.family, one.subject) != last:
            last = (one.family, one.subject)
            lines.append(f"{one.subject} ({one.family})")
        lines.append(f"  {one.text}  [{one.where}]")
        lines += [f"      since {one.since}: {one.because}"] if one.since else []
    if len(found.differences) > SHOWN:
        lines.append(f"and {len(found.differences) - SHOWN} more; -o json has all")
    count = len(found.differences)
    lines.append(f"{count} {'difference' if count == 1 else 'differences'} between what {found.origin} wants and what the kernel holds")
    return "\n".join(lines) + "\n"
