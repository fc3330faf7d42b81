"""`pointsman cleanup`: removes everything that pointsman put into the kernel of this network namespace.

It recognises what is ours by name, so it needs neither a configuration nor a record, works after a crash in any state, and doing it twice
is the same as once (pain 63). Nothing of others is touched; kubelet's chains stay, and those that a kube-proxy has written again. An agent
that runs here would put everything back, and its sets cannot be removed below its rules, so cleaning up waits a moment for it to end and
otherwise names it and does nothing.
"""

import asyncio
from collections.abc import Coroutine

import click
from pointsman.dataplane.errors import KernelError
from pointsman.proxy import capabilities, logs, sole, takeover
from pointsman.proxy.dns import surroundings
from pointsman.proxy.modes import MODES
from pointsman.proxy.takeover import Leftovers

EPILOG = """\b
Examples:
  pointsman cleanup --dry-run     say what would be removed
  pointsman cleanup               remove it

\b
Stop `pointsman run` first: nothing is removed while an agent runs here. Connections through Services end, unless a
kube-proxy runs here again: then its rules stay, and ours go once it has written them.
`pointsman run --cleanup` removes what kube-proxy left as well.

\b
Exit status:
  0  removed, or there was nothing
  1  something could not be removed, or an agent is running: standard error says what and why
  2  the command line is wrong
"""


@click.command("cleanup", epilog=EPILOG)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--proxy-mode", "only", type=click.Choice(list(MODES)), help="Clean up after this mode only. Default: after every mode.")
def command(*, dry_run: bool, only: str | None) -> int:
    """Remove everything that pointsman put into the kernel, whichever run or version did it."""
    modes = [only] if only else list(MODES)
    return finish(clean(modes, dry_run=True) if dry_run else clean_alone(modes), "would remove" if dry_run else "removed")


def everything() -> int:
    """Remove all rules of pointsman and of kube-proxy, of every mode, as kube-proxy's `--cleanup` does (PROC-04); return the status."""
    return finish(clean_everything(), "removed")


def finish(work: Coroutine[None, None, Leftovers], word: str) -> int:
    """Do the work, tell what was done and what failed, and return the exit status."""
    logs.configure("text", 0)
    try:
        if reason := capabilities.refusal():
            raise click.ClickException(reason)
        left = asyncio.run(work)
    except sole.OccupiedError as occupied:
        raise click.ClickException(f"nothing was removed: {occupied}") from occupied
    finally:
        work.close()
    for line in left.removed:
        click.echo(f"{word} {line}")
    for error in left.errors:
        click.echo(f"pointsman cleanup: {error}", err=True)
    if not left.removed and not left.errors:
        click.echo("nothing of pointsman is in this kernel")
    return 1 if left.errors else 0


async def clean_alone(modes: list[str]) -> Leftovers:
    """Clean up while no agent runs, and keep any from starting meanwhile; raises OccupiedError if one does not end.

    A kube-proxy that runs here again comes first: nothing is removed before its rules are there.
    """
    async with sole.reserved():
        try:
            await takeover.hand_back()
        except KernelError as error:
            return Leftovers(errors=(error,))
        return await clean(modes, dry_run=False)


async def clean_everything() -> Leftovers:
    """Remove kube-proxy's rules too; raises OccupiedError if an agent runs and does not end."""
    async with sole.reserved():
        rules, routes = await takeover.remove_all(), await takeover.each([surroundings.remove()])
        return Leftovers((*rules.removed, *routes.removed), (*rules.errors, *routes.errors))


async def clean(modes: list[str], *, dry_run: bool) -> Leftovers:
    """Clean up after modes; one that fails does not keep the others from being cleaned."""
    removals = [MODES[mode].cleanup(dry_run=dry_run) for mode in modes]
    if len(modes) == len(MODES):
        removals.append(surroundings.remove(dry_run=dry_run))
    return await takeover.each(removals)
