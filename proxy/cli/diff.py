"""`pointsman diff`: what the kernel holds otherwise than wanted, in words; nothing if all is well. Changes nothing."""

import asyncio

import click
from pointsman.proxy.cli import wanted
from pointsman.proxy.comparison import DiffReport, compare
from pointsman.proxy.flags import FlagCommand

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


def text(found: DiffReport) -> str:
    """Return the report for people: differences by subject, each with the object in the mode's own words."""
    lines = [f"cannot be read: {one}" for one in found.unread]
    last = ("", "")
    for one in found.differences[:SHOWN]:
        if (one.family, one.subject) != last:
            last = (one.family, one.subject)
            lines.append(f"{one.subject} ({one.family})")
        lines.append(f"  {one.text}  [{one.where}]")
        lines += [f"      {f'since {one.since}: ' if one.since else ''}{one.because}"] if one.since else []
    if len(found.differences) > SHOWN:
        lines.append(f"and {len(found.differences) - SHOWN} more; -o json has all")
    lines += [f"beside it, a rule of {one.owner} can refuse packets: {one.text}" for one in found.beside if one.refuses]
    count = len(found.differences)
    if not count and not found.unread:
        return "\n".join([*lines, f"node {found.node}, mode {found.mode}: the kernel holds exactly what is wanted"]) + "\n"
    lines.append(f"{count} {'difference' if count == 1 else 'differences'} between what {found.origin} wants and what the kernel holds")
    return "\n".join(lines) + "\n"
