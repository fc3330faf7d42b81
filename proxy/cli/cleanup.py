"""`pointsman cleanup`: removes everything that pointsman put into the kernel of this network namespace.

It recognises what is ours by name, so it needs neither a configuration nor a record, works after a crash in any state, and doing it twice
is the same as once (pain 63). Nothing of others is touched; kubelet's chains stay. An agent that runs here would put everything back, and
its sets cannot be removed below its rules, so cleaning up waits a moment for it to end and otherwise names it and does nothing.
"""

import asyncio
import os

import click
from pointsman.dataplane.errors import KernelError
from pointsman.proxy import logs, sole
from pointsman.proxy.modes import MODES

EPILOG = """\b
Examples:
  pointsman cleanup --dry-run     say what would be removed
  pointsman cleanup               remove it

\b
Stop `pointsman run` first: nothing is removed while an agent runs here. Connections through Services end.

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
    if os.geteuid() != 0:
        raise click.ClickException("only root may look into the kernel's tables and change them; try it with sudo")
    logs.configure("text", 0)
    modes = [only] if only else list(MODES)
    try:
        removed, errors = asyncio.run(clean(modes, dry_run=True) if dry_run else clean_alone(modes))
    except sole.OccupiedError as occupied:
        raise click.ClickException(f"nothing was removed: {occupied}") from occupied
    word = "would remove" if dry_run else "removed"
    for line in removed:
        click.echo(f"{word} {line}")
    for error in errors:
        click.echo(f"pointsman cleanup: {error}", err=True)
    if not removed and not errors:
        click.echo("nothing of pointsman is in this kernel")
    return 1 if errors else 0


async def clean_alone(modes: list[str]) -> tuple[list[str], list[KernelError]]:
    """Clean up while no agent runs, and keep any from starting meanwhile; raises OccupiedError if one does not end."""
    async with sole.reserved():
        return await clean(modes, dry_run=False)


async def clean(modes: list[str], *, dry_run: bool) -> tuple[list[str], list[KernelError]]:
    """Clean up after modes; one that fails does not keep the others from being cleaned. Returns what was removed, and the errors."""
    removed: list[str] = []
    errors: list[KernelError] = []
    for mode in modes:
        try:
            removed += await MODES[mode].cleanup(dry_run=dry_run)
        except KernelError as error:
            errors.append(error)
    return removed, errors
