"""`pointsman run`: reads the flags and hands over to the daemon.

Whatever is wrong with the flags is told at once, before anything else happens. What is wrong with the machine is the daemon's to tell, also
before anything is written.
"""

import os
from pathlib import Path

import click
from pointsman.proxy import flags, logs
from pointsman.proxy.config import MODES, Config, ConfigProblem
from pointsman.proxy.config_check import problems
from pointsman.proxy.flags import RUN_FLAGS, FlagCommand

EPILOG = """\b
Examples:
  pointsman run --manifests /etc/pointsman/objects --hostname-override n1 --cluster-cidr 10.244.0.0/16
  pointsman run --manifests DIR --detect-local-mode NodeCIDR --nodeport-addresses primary
  pointsman run --manifests DIR --cluster-cidr 10.244.0.0/16,fd00:10:244::/56 --iptables-variant nft -v 4

\b
Flags are kube-proxy's where it has them, and are written as there: --flag, --flag=false, 1m30s, a,b,c.
Stopping it (SIGTERM, Ctrl-C) leaves all rules in place; `pointsman cleanup` removes them.

\b
Exit status:
  0  stopped by a signal
  1  this machine cannot do it (nothing was written), or an unexpected error (see the log)
  2  the flags are wrong
"""


@click.command("run", cls=FlagCommand, flags=RUN_FLAGS, epilog=EPILOG)
@click.pass_context
def command(ctx: click.Context, /, **values: object) -> int:
    """Route this node's Service traffic as the manifests say, and follow their changes, until stopped."""
    config = flags.load(ctx, values, check)
    if os.geteuid() != 0:
        raise click.ClickException("only root may program the kernel; try it with sudo, or look with `pointsman plan` first")
    logs.configure(config.logging_format, config.verbosity)
    from pointsman.proxy import daemon  # noqa: PLC0415 - loads servers and tools that --help need not wait for

    return daemon.main(config)


def check(config: Config) -> tuple[ConfigProblem, ...]:
    """Return what is wrong with the configuration, and with what it names on this machine."""
    from pointsman.proxy.modes import MODES as PROGRAMMED  # noqa: PLC0415 - loads the modes, which --help need not wait for

    found = problems(config)
    if config.mode in MODES and config.mode not in PROGRAMMED:
        text = f"this version cannot program {config.mode}; it can program: {', '.join(PROGRAMMED)}"
        found += (ConfigProblem("mode", text),)
    if config.manifests and not Path(config.manifests).is_dir():
        found += (ConfigProblem("manifests", "no such folder; make it first, it may be empty"),)
    return found
