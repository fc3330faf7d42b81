"""`pointsman cleanup`: removes everything that pointsman put into the kernel of this network namespace.

It recognises what is ours by name, so it needs neither a configuration nor a record, works after a crash in any state, and doing it twice
is the same as once (pain 63). Nothing of others is touched; kubelet's chains stay.
"""

import asyncio
import os

import click
from pointsman.dataplane.errors import KernelError
from pointsman.proxy import logs
from pointsman.proxy.modes import MODES

EPILOG = """\b
Examples:
  pointsman cleanup --dry-run     say what would be removed
  pointsman cleanup               remove it

\b
Stop `pointsman run` first: a running agent puts everything back. Connections through Services end.

\b
Exit status:
  0  removed, or there was nothing
  1  something could not be removed: standard error says what and why
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
    removed, errors = asyncio.run(clean([only] if only else list(MODES), dry_run=dry_run))
    word = "would remove" if dry_run else "removed"
    for line in removed:
        click.echo(f"{word} {line}")
    for error in errors:
        click.echo(f"pointsman cleanup: {error}", err=True)
    if not removed and not errors:
        click.echo("nothing of pointsman is in this kernel")
    return 1 if errors else 0


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
