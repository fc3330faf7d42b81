"""What needs more rights than programming Services: kernel settings of the host, made once at the start (PROC-05).

`--init-only` makes them in a privileged container and ends; the agent then finds them as they must be, writes none, and gets along with
CAP_NET_ADMIN and CAP_NET_RAW (iptables opens raw sockets); modules that bring such settings are loaded first. In an agent a setting that
cannot be made is told with its remedy and is no reason to leave Services without a way; asked for alone, it is an error. A setting whose
kernel module is not loaded yet is tried again once the rules, which load it, are in place.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

from pointsman.conntrack import sysctl
from pointsman.conntrack.sysctl import Limits
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.proxy import kernel_modules
from pointsman.proxy.config import Config
from pointsman.proxy.modes import MODES

log = logging.getLogger(__name__)


def limits(config: Config) -> Limits:
    """Return what is wanted of connection tracking (CFG-10)."""
    return Limits(
        max_per_core=config.conntrack_max_per_core,
        minimum=config.conntrack_min,
        tcp_established=config.conntrack_tcp_established_timeout,
        tcp_close_wait=config.conntrack_tcp_close_wait_timeout,
        tcp_be_liberal=config.conntrack_tcp_be_liberal,
        udp=config.conntrack_udp_timeout,
        udp_stream=config.conntrack_udp_stream_timeout,
    )


def tune(config: Config) -> tuple[KernelError, ...]:
    """Make the settings of connection tracking; return why some could not be made."""
    written, errors = sysctl.ensure(limits(config))
    if written:
        log.info("set limits of connection tracking", extra={"settings": "; ".join(written)})
    return errors


async def tune_later(config: Config, errors: Iterable[KernelError], ready: Callable[[], Awaitable[None]]) -> None:
    """Tell what could not be made at the start; what was missing then is tried again once `ready` has waited."""
    errors = tuple(errors)
    if any(error.kind is ErrorKind.MISSING for error in errors):
        await ready()
        errors = tune(config)
    for error in errors:
        log.warning("a limit of connection tracking stays as it is", extra={"reason": str(error)})


def prepare_only(config: Config) -> tuple[KernelError, ...]:
    """Do everything that needs full privileges; return everything that could not be done."""
    kernel_modules.load(config)
    errors = list(tune(config))
    try:
        MODES[config.mode].privileged(config)
    except KernelError as error:
        errors.append(error)
    return tuple(errors)
