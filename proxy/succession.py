"""Taking the place of whatever routed here before: another mode of ours, the other variant of iptables, kube-proxy.

The order is what keeps every packet on a way. Ours is programmed beside the old, the kernel is read back, and only then the old is removed,
except for what established connections still need: that drains in sight (`Leaving`, shown by `pointsman ipvs drain`). A kube-proxy that
still runs would write its rules again, so its end is waited for. What cannot be removed stays and is told. `daemon` runs this once, beside
the loops; `takeover` knows kube-proxy, `modes` how a mode ends.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from pointsman.dataplane.errors import KernelError
from pointsman.proxy import takeover
from pointsman.proxy.agent import Agent
from pointsman.proxy.mode import Leaving, Loop
from pointsman.proxy.modes import MODES
from pointsman.proxy.takeover import tell_removed

log = logging.getLogger(__name__)


async def succeed(agent: Agent) -> None:
    """Do everything; returns when nothing of another mode is left, or could be removed."""
    config, variant, loops = agent.parts.config, agent.parts.engine.variant, agent.parts.loops.values()
    await takeover.announce(config.mode, variant, allowed=config.takeover)
    await programmed(loops)
    if config.takeover:
        await takeover.ended()
    for loop in loops:
        await loop.verified()
    await takeover.run(config.mode, variant, allowed=config.takeover)
    await retire_others(agent)
    await let_end(agent)


async def programmed(loops: Iterable[Loop]) -> None:
    """Wait until every loop has written what was wanted first."""
    for loop in loops:
        await loop.applied(0)


async def retire_others(agent: Agent) -> None:
    """Let other modes take no new connection, and remove what none needs; `pointsman cleanup` tries again what fails.

    What fails is tried once more in the end: kube-proxy's chains of one mode may lead to those of another.
    """
    config = agent.parts.config
    others = {name: mode.retire(config, agent.endpoints) for name, mode in MODES.items() if name != config.mode}
    failed = await _begin(agent, others)
    if config.takeover:
        try:
            tell_removed(await MODES[config.mode].succeed())
        except KernelError as error:
            log.warning("what kube-proxy left stays; try `pointsman cleanup`", extra={"mode": config.mode, "error": str(error)})
    again = await _begin(agent, {name: others[name] for name in failed})
    for name, reason in again.items():
        log.warning("what another mode left stays; try `pointsman cleanup`", extra={"mode": name, "error": str(reason)})


async def _begin(agent: Agent, others: Mapping[str, Leaving]) -> dict[str, KernelError]:
    """Begin the end of modes; return why some could not."""
    failed: dict[str, KernelError] = {}
    for name, leaving in others.items():
        try:
            tell_removed(await leaving.begin())
        except KernelError as error:
            failed[name] = error
        else:
            agent.leaving = (*agent.leaving, leaving)
    return failed


async def let_end(agent: Agent) -> None:
    """Wait for the connections that other modes still have, and remove what they needed."""
    draining = len([row for one in agent.leaving for row in one.draining(datetime.now(UTC))])
    if draining:
        facts = {"servers": draining, "seconds_at_most": agent.parts.config.ipvs_drain_cap, "see": "pointsman ipvs drain"}
        log.info("connections through another mode go on until they end", extra=facts)
    for leaving in agent.leaving:
        try:
            await leaving.finish()
        except KernelError as error:
            log.warning("something that another mode left stays; try `pointsman cleanup`", extra={"error": str(error)})
    agent.leaving = ()
    if draining:
        log.info("nothing of the other mode is left")
