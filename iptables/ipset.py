"""The ipset tool: its commands, and what it holds of ours.

`render` writes the text, `parse` reads it back, both pure; here are only the calls. Elements are added and deleted one by one in the
kernel, so a batch is not atomic; `-exist` makes every part of it repeatable instead. A set of another type is built beside the old one
and swapped in by `render`. Only sets whose name begins with our prefix are ever listed in full: others may hold millions.
"""

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.names import is_our_set
from pointsman.iptables.run import LONG, find_program, lines, output_of
from pointsman.routing.route import Family


def program() -> str:
    """Return the path of ipset. Raises KernelError(UNSUPPORTED) with the package's name."""
    if (path := find_program("ipset")) is None:
        raise KernelError(ErrorKind.UNSUPPORTED, "no such program: install the Debian package ipset", "ipset")
    return path


def restore_command() -> tuple[str, ...]:
    """Return the command that reads commands from its standard input; repeating one is no error."""
    return (program(), "restore", "-exist")


async def ours(family: Family) -> tuple[str, ...]:
    """Return the names of our sets of one family."""
    names = (await output_of([program(), "list", "-name"])).split()
    return tuple(sorted(name for name in names if is_our_set(name, family)))


async def saved(family: Family) -> list[str]:
    """Return our sets of one family as `ipset save` prints them."""
    found: list[str] = []
    for name in await ours(family):
        await lines([program(), "save", name], found.extend, seconds=LONG)
    return found
