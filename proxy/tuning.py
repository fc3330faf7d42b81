"""Holding the limits of connection tracking: what was set at the start is looked at again and again (CT-20 to CT-22).

A configuration tool that applies its own sysctls an hour later takes kube-proxy's away for good. Here the change is noticed within a
minute, told with both values, and taken back. What could not be set at the start, such as the size of the table inside a container, is no
news and is not tried again until it changes. `pointsman conntrack sysctl` shows the same at any time.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from pointsman.conntrack import sysctl
from pointsman.proxy import privileges
from pointsman.proxy.config import Config

log = logging.getLogger(__name__)

PERIOD: Final = 60.0
"""Seconds between two looks."""

Drift = Mapping[str, tuple[int, int]]


async def hold(config: Config, *, period: float = PERIOD, drifted: Callable[[], Drift] | None = None) -> None:
    """Take back what others change, until cancelled; `drifted` returns what is otherwise than wanted: its value, and the wanted one."""
    look = drifted or (lambda: sysctl.drifted(privileges.limits(config)))
    known: Drift = look()
    while True:
        await asyncio.sleep(period)
        found = look()
        fresh = {path: values for path, values in found.items() if known.get(path) != values}
        if fresh:
            named = "; ".join(f"{path.replace('/', '.')} is {value}, wanted {wanted}" for path, (value, wanted) in fresh.items())
            log.warning("somebody changed limits of connection tracking; taking it back", extra={"settings": named})
            for error in privileges.tune(config):
                log.warning("a limit of connection tracking stays as it is", extra={"reason": str(error)})
        known = look()
