"""`pointsman config`: looks at a configuration file without doing anything; no root, no kernel.

`check` is the file's own way into `run` (decode, join, complete, judge), ended before the machine. It prints every setting, so that what a
default or a forgotten line means is seen before a node is restarted with it.
"""

import sys
from pathlib import Path

import click
from msgspec import structs
from pointsman.proxy import config_file, loading
from pointsman.proxy.cli import run
from pointsman.proxy.config import Config, ConfigProblem
from pointsman.proxy.config_check import warnings
from pointsman.proxy.flag_table import NAMES, RUN_FLAGS
from pointsman.proxy.loading import Loaded, Source
from pointsman.proxy.settings import DURATION, PATHS, SCHEMAS
from pointsman.proxy.values import spelled

EPILOG = """\b
Examples:
  pointsman config check /var/lib/kube-proxy/config.conf
  kubectl -n kube-system get configmap kube-proxy -o jsonpath='{.data.config\\.conf}' | pointsman config check -

\b
Exit status:
  0  the file can be used
  2  it cannot, or the command line is wrong
"""

CHECK_EPILOG = """\b
Examples:
  pointsman config check config.conf
  pointsman config check config.conf --changed     only what differs from the defaults

\b
Exit status:
  0  the file can be used; what it says in vain is on standard error
  2  it cannot be used: standard error says everything that is wrong, with its line
"""

_TIMES = frozenset(setting.field for schema in SCHEMAS for setting in schema.settings if setting.kind is DURATION)


@click.command("check", epilog=CHECK_EPILOG)
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--changed", is_flag=True, help="Print only settings that differ from their defaults.")
def check_command(file: Path, *, changed: bool) -> int:
    """Print what would be in force with FILE (- is standard input), where each value came from, and every problem."""
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from error
    source = Source("stdin" if str(file) == "-" else file.name, config_file.read(content))
    loaded = loading.load(RUN_FLAGS, {}, source, check)
    click.echo("\n".join(table(loaded, changed=changed)))
    for line in remarks(loaded):
        click.echo(f"note: {line}", err=True)
    for line in loaded.problems:
        click.echo(f"problem: {line}", err=True)
    return 2 if loaded.problems else 0


command = click.Group(
    "config", commands=[check_command], epilog=EPILOG, no_args_is_help=True, help="Look at a configuration file.",
)


def table(loaded: Loaded, *, changed: bool) -> list[str]:
    """Return a line for each setting: its name in the file, its value, and where that came from."""
    usual = Config()
    rows = [
        (PATHS.get(field, NAMES.get(field, field)), spelled(value, time=field in _TIMES) or "-", loaded.origins[field])
        for field, value in structs.asdict(loaded.config).items()
        if not changed or value != getattr(usual, field)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for name, value, origin in rows]


def check(config: Config) -> tuple[ConfigProblem, ...]:
    """Return everything that would keep this version from starting with a configuration."""
    late = run.unprogrammed(config)
    return (*run.check(config), *((late,) if late else ()))


def remarks(loaded: Loaded) -> list[str]:
    """Return what is said in vain, and what is doubtful."""
    doubtful = () if loaded.problems else warnings(loaded.config)
    return [*loaded.remarks, *(f"{PATHS.get(one.field, one.field)}: {one.text}" for one in doubtful)]
