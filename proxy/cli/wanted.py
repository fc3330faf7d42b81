"""Where the commands that explain get the wanted side from: options that they share, and the choice between agent and source.

Without options the running agent is asked. Whoever names a folder, a kubeconfig or a configuration file gets the same from there, without
any agent: on a node in trouble there may be none.
"""

import sys
from collections.abc import Mapping

import click
import msgspec
from msgspec import Struct
from pointsman.proxy import flags
from pointsman.proxy.cli import run
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.config import Config, ConfigProblem
from pointsman.proxy.flag_table import AGENT_FLAGS, PLAN_FLAGS
from pointsman.proxy.known import Known, UnreadError, from_agent, from_source

_OWN = ("socket", "kubeconfig", "master", "iptables-variant")
SOURCE_FLAGS = PLAN_FLAGS + tuple(flag for flag in AGENT_FLAGS if flag.name in _OWN)
"""Flags of `run` that say what is wanted, and where the objects are."""

_NAMING = ("manifests", "kubeconfig", "master", "config_file")

STATUS = """\b
Without --manifests, --kubeconfig, --master or --config the running agent is asked (--socket); with one of them no agent is needed,
and the flags of `pointsman run` say how the node is configured.
"""


class WantedError(click.ClickException):
    """The wanted side could not be had."""

    exit_code = 3


def known(ctx: click.Context, values: Mapping[str, object]) -> Known:
    """Return the wanted side that the command line names; ends the command if it cannot be had."""
    loaded = flags.load(ctx, values, check)
    named = any(values.get(name) for name in _NAMING)
    if not named:
        try:
            return from_agent(loaded.config.socket)
        except UnreachableError as error:
            hint = "or name a source of objects: --manifests DIR or --kubeconfig FILE"
            raise WantedError(f"{error.format_message()}; {hint}") from error
    try:
        return from_source(loaded.config)
    except UnreadError as error:
        raise WantedError(str(error)) from error


def check(config: Config) -> tuple[ConfigProblem, ...]:
    """Return what is wrong with the configuration for somebody who only looks."""
    late = run.unprogrammed(config)
    return (*run.check(config), *((late,) if late else ()))


def write(document: Struct | Mapping[str, object] | tuple[Struct, ...]) -> None:
    """Print a document as JSON."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    sys.stdout.buffer.flush()
