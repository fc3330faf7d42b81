"""/healthz and /livez: whether this node should get traffic, and whether this agent lives (HLT-01 to HLT-04).

Two questions that must not be mixed up (pain 55): `/livez` asks only whether changes reach the kernel, and belongs to liveness probes;
`/healthz` also asks whether the node is on its way out, so that load balancers drain it. A family is unhealthy when a change has waited for
longer than twice the sync period. The answer is made by pure functions from `FamilyHealth`; only `serve` listens, and tries again five
seconds after it could not (PROC-11): a taken port never stops the routing. The HTTP library is loaded when serving begins, because that
takes a tenth of a second and the daemon begins to serve only when the first rules are written.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from pointsman.kube.objects import Node
from pointsman.proxy.config import split_host_port
from pointsman.routing.route import Family

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until a server that could not listen tries again (PROC-11)."""

DRAINING_TAINT = "ToBeDeletedByClusterAutoscaler"
"""A node with this taint is about to be deleted (HLT-03)."""

HEADERS = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


class FamilyHealth(Struct, frozen=True):
    """When a family last had everything applied (seconds since the epoch), and how many seconds the oldest change waits (0 = none)."""

    last_updated: float
    pending: float = 0.0


class Health(Struct, frozen=True):
    """What both endpoints answer from. `families` holds only those that have reported; `timeout` is in seconds."""

    families: Mapping[Family, FamilyHealth]
    eligible: bool
    timeout: float


class _FamilyBody(Struct, rename="camel"):
    last_updated: str
    healthy: bool


class _LiveBody(Struct, rename="camel"):
    last_updated: str
    current_time: str
    healthy: bool
    status: dict[str, _FamilyBody]


class _HealthBody(_LiveBody):
    node_eligible: bool


def eligible(nodes: Mapping[str, Node], name: str) -> bool:
    """Return whether the node should get traffic from load balancers (HLT-03).

    Without any Node object nobody has said otherwise; among others, a node that is missing is not known.
    """
    if not nodes:
        return True
    node = nodes.get(name)
    if node is None or node.metadata.deletion_timestamp is not None:
        return False
    return all(taint.key != DRAINING_TAINT for taint in node.spec.taints or ())


def livez(health: Health, now: float) -> tuple[int, bytes]:
    """Return status and body of /livez at `now`, seconds since the epoch (HLT-02)."""
    healthy = _healthy(health)
    return _status(healthy), msgspec.json.encode(_live(health, now, fine=healthy))


def healthz(health: Health, now: float) -> tuple[int, bytes]:
    """Return status and body of /healthz at `now`, seconds since the epoch (HLT-03)."""
    fine = _healthy(health) and health.eligible
    live = _live(health, now, fine=fine)
    body = _HealthBody(live.last_updated, live.current_time, live.healthy, live.status, node_eligible=health.eligible)
    return _status(fine), msgspec.json.encode(body)


async def serve(address: str, health: Callable[[], Health], clock: Callable[[], float], *, retry: float = RETRY) -> None:
    """Answer on `address` (host:port; empty = nowhere) until cancelled; `clock` gives seconds since the epoch."""
    if not address:
        return
    from aiohttp import web  # noqa: PLC0415 - see above

    host, port = split_host_port(address)
    runner = web.AppRunner(_application(health, clock), access_log=None)
    await runner.setup()
    try:
        while True:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                log.warning("health is not served", extra={"address": address, "error": str(error), "retry_seconds": retry})
                await asyncio.sleep(retry)
                continue
            log.info("health is served", extra={"address": address})
            await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _application(health: Callable[[], Health], clock: Callable[[], float]) -> "web.Application":
    from aiohttp import web  # noqa: PLC0415 - see above

    async def answer_livez(_: web.Request) -> web.Response:
        return _response(*livez(health(), clock()))

    async def answer_healthz(_: web.Request) -> web.Response:
        return _response(*healthz(health(), clock()))

    application = web.Application()
    application.router.add_get("/livez", answer_livez)
    application.router.add_get("/healthz", answer_healthz)
    return application


def _response(status: int, body: bytes) -> "web.Response":
    from aiohttp import web  # noqa: PLC0415 - see above

    return web.Response(status=status, body=body, headers=HEADERS)


def _healthy(health: Health) -> bool:
    return all(family.pending <= health.timeout for family in health.families.values())


def _status(fine: bool) -> int:
    return 200 if fine else 503


def _live(health: Health, now: float, *, fine: bool) -> _LiveBody:
    status = {
        family.value: _FamilyBody(_time(one.last_updated), one.pending <= health.timeout) for family, one in health.families.items()
    }
    oldest = min((one.last_updated for one in health.families.values()), default=now)
    return _LiveBody(_time(now if fine else oldest), _time(now), _healthy(health), status)


def _time(seconds: float) -> str:
    """Return a time as Kubernetes writes it (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
