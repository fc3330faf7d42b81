"""Kernel modules whose settings are made before anything uses them: loaded by `--init-only`, on a node where nobody else has yet.

The kernel loads most of what the modes need by itself, when a rule, a set or a server asks for it, and that takes CAP_NET_ADMIN only. Two
things it does not: a setting below /proc/sys is not there before its module is, and iptables-legacy finds no tables without theirs (where
the variant is left open, it is looked which one the agent will choose: a host that uses nft is given no legacy tables). Loading
takes CAP_SYS_MODULE and the node's /lib/modules, so the privileged run does it and the agent never does (PROC-05, pain 41). What cannot be
loaded is no error here: it may be built into the kernel, and if it is missing, whoever needs it tells better. `privileges` calls.
"""

import asyncio
import logging
import shutil
import subprocess
from pathlib import Path

import msgspec
from pointsman.dataplane.errors import KernelError
from pointsman.iptables.variant import choose
from pointsman.proxy.config import Config

log = logging.getLogger(__name__)

PROC = Path("/proc")
CONNTRACK = ("nf_conntrack", "sys/net/netfilter/nf_conntrack_max")
IPVS = ("ip_vs", "sys/net/ipv4/vs")
LEGACY = (("ip_tables", "net/ip_tables_names"), ("ip6_tables", "net/ip6_tables_names"))
TOOLS = ("iptables", "ipvs")
"""Modes that run iptables."""
PATIENCE = 60.0
"""Seconds that loading may take."""


def absent(config: Config, proc: Path = PROC) -> tuple[str, ...]:
    """Return the modules that are wanted for a configuration and leave no sign of themselves below /proc."""
    wanted = [CONNTRACK]
    if config.mode == "ipvs":
        wanted.append(IPVS)
    if config.mode in TOOLS and config.iptables_variant == "legacy":
        wanted += LEGACY
    return tuple(name for name, sign in wanted if not (proc / sign).exists())


def load(config: Config) -> None:
    """Load what is absent, as far as this machine lets us."""
    modprobe = shutil.which("modprobe")
    if modprobe is None:
        return
    config = _decided(config)
    names = absent(config)
    if not names:
        return
    try:
        ended = subprocess.run([modprobe, "-a", "-q", *names], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("kernel modules could not be loaded", extra={"modules": ", ".join(names), "error": str(error)})
        return
    left = absent(config)
    if left:
        reason = " ".join(ended.stderr.split()) or f"modprobe ended with status {ended.returncode}"
        log.warning("kernel modules could not be loaded", extra={"modules": ", ".join(left), "error": reason})
    if loaded := [name for name in names if name not in left]:
        log.info("loaded kernel modules", extra={"modules": ", ".join(loaded)})


def _decided(config: Config) -> Config:
    """Return the configuration with the variant of iptables that the agent will choose on this machine, as it will look (DEP-04)."""
    if config.iptables_variant != "auto" or config.mode not in TOOLS:
        return config
    try:
        choice = asyncio.run(choose(config.iptables_variant))
    except KernelError as error:
        log.warning("it cannot be told which iptables this machine uses", extra={"error": str(error)})
        return config
    return msgspec.structs.replace(config, iptables_variant=choice.variant.value)
