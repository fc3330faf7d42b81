"""`pointsman run`: reads flags and file, does what else was asked for, or hands over to the daemon.

Whatever is wrong with the configuration is told at once, before anything else happens (PROC-01). What is wrong with the machine is the
daemon's to tell, also before anything is written. `kube_proxy` runs the same command under kube-proxy's name.
"""

import logging
from pathlib import Path

import click
from pointsman.proxy import capabilities, config_document, flags, logs, version
from pointsman.proxy.config import MODES, Config, ConfigProblem
from pointsman.proxy.config_check import problems
from pointsman.proxy.config_watch import ConfigFile
from pointsman.proxy.flag_table import NAMES, RUN_FLAGS
from pointsman.proxy.flags import FlagCommand
from pointsman.proxy.loading import Loaded

log = logging.getLogger(__name__)

EPILOG = """\b
Examples:
  pointsman run --config /var/lib/kube-proxy/config.conf --hostname-override n1     as kube-proxy is run
  pointsman run --kubeconfig /etc/kubernetes/proxy.conf --cluster-cidr 10.244.0.0/16
  pointsman run --manifests DIR --detect-local-mode NodeCIDR --nodeport-addresses primary
  pointsman run --cluster-cidr 10.244.0.0/16,fd00:10:244::/56 --iptables-variant nft -v 4
  pointsman run --config FILE --write-config-to /dev/stdout                         what would be in force

\b
Flags are kube-proxy's where it has them, and are written as there: --flag, --flag=false, 1m30s, a,b,c.
`pointsman config check FILE` reads a configuration file and says what is wrong with it.
Stopping (SIGTERM, Ctrl-C) leaves all rules in place; `pointsman cleanup` removes them.

\b
Exit status:
  0  stopped by a signal, or what was asked for is done
  1  this machine cannot do it (no rule was written), the configuration file changed, or an unexpected error (see the log)
  2  the configuration is wrong
"""


@click.command("run", cls=FlagCommand, flags=RUN_FLAGS, epilog=EPILOG)
@click.pass_context
def command(ctx: click.Context, /, **values: object) -> int:
    """Route this node's Service traffic as the Kubernetes API (or a folder of manifests) says, and follow its changes, until stopped."""
    if text := asked_version(values.get("version")):
        click.echo(text)
        return 0
    loaded = flags.load(ctx, values, check)
    config, actions = loaded.config, loaded.actions
    if target := actions.get("write_config_to"):
        return write(config, Path(str(target)))
    if (reason := capabilities.refusal()) and not actions.get("cleanup"):
        raise click.ClickException(reason)
    if actions.get("cleanup"):
        from pointsman.proxy.cli import cleanup  # noqa: PLC0415 - as below

        return cleanup.everything()
    if found := unprogrammed(config):
        raise click.ClickException(f"cannot start: {NAMES[found.field]}: {found.text}")
    logs.configure(config.logging_format, config.verbosity)
    tell(loaded)
    from pointsman.proxy import daemon  # noqa: PLC0415 - loads servers and tools that --help need not wait for

    if actions.get("init_only"):
        return daemon.prepare_only(config)
    name = actions.get("config_file")
    return daemon.main(config, ConfigFile(Path(str(name)), loaded.digest) if name else None)


def check(config: Config) -> tuple[ConfigProblem, ...]:
    """Return what is wrong with the configuration, and with what it names on this machine."""
    found = problems(config)
    if config.manifests and not Path(config.manifests).is_dir():
        found += (ConfigProblem("manifests", "no such folder; make it first, it may be empty"),)
    return found


def unprogrammed(config: Config) -> ConfigProblem | None:
    """Return what to tell of a mode that is kube-proxy's, but cannot be programmed by this version (PROC-02)."""
    from pointsman.proxy.modes import MODES as PROGRAMMED  # noqa: PLC0415 - loads the modes, which --help need not wait for

    if config.mode in PROGRAMMED or config.mode not in MODES:
        return None
    return ConfigProblem("mode", f"this version cannot program {config.mode}; it can program: {', '.join(PROGRAMMED)}")


def write(config: Config, target: Path) -> int:
    """Write the configuration in force to a file (PROC-06); return the exit status."""
    for path in config_document.lost(config):
        click.echo(f"{target}: {path}: a file cannot say this value; read again, it will mean the default", err=True)
    try:
        target.write_text(config_document.text(config), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}") from error
    return 0


def tell(loaded: Loaded) -> None:
    """Log once what was given in vain."""
    for remark in loaded.remarks:
        log.warning("configuration: %s", remark)


def asked_version(given: object) -> str:
    """Return what `--version` prints, empty if it was not asked for."""
    text = given[-1] if isinstance(given, tuple) and given else "false"
    if text == "raw":
        return version.raw()
    return f"Kubernetes {version.release()}" if text in ("1", "t", "T", "true", "TRUE", "True") else ""
