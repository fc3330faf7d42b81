"""Stands between the agent and the API server and can misbehave: `ADDRESS:DOOR` in the underlay, with a certificate of the same authority.

    door.fault = Fault(status=429, headers={"Retry-After": "2"})       # every request, until it is None again
    door.fault = Fault(watch=True, lines=(b'{"type": "BOOK',))         # only watches: these lines, then the end
    door.worthless.add(token)                                          # 401 to whoever shows it
    door.missing.add("servicecidrs")                                   # 404, as servers answer that do not know a kind

Requests pass on as they came, bearer tokens included; what was asked is written down, so that tests see which permissions are used.
"""

import asyncio
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from plane import ADDRESS, DOOR
from pointsman.proxy.demo.lab_topology import UNDERLAY

CHUNK = 1 << 16
RESOURCE = re.compile(r"^/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)/(?:namespaces/[^/]+/)?(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?")
UNAUTHORIZED = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","code":401}'
NOT_PASSED = {"host", "content-length", "transfer-encoding", "connection"}


@dataclass(frozen=True)
class Fault:
    """How requests are answered instead of being passed on.

    `status`, `headers` and `body` are the answer; with `cut`, the API server's own answer breaks off after so many bytes; with `hang`,
    there is none; `lines` are all that a watch gets. `watch`: True for watches only, False for everything else only, None for all.
    `streamed` restricts it to lists that are asked for as a stream, `resource` to one kind; it happens `times` times, if that is given.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int = 0
    hang: bool = False
    lines: tuple[bytes, ...] = ()
    watch: bool | None = None
    streamed: bool = False
    resource: str = ""
    times: int = 0

    def meets(self, request):
        if self.streamed and "sendInitialEvents" not in request.query:
            return False
        return self.watch in {None, is_watch(request)} and self.resource in {"", resource_of(request.path)[1]}


NO_STREAMS = Fault(
    streamed=True, status=422, body=b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":'
    b'"sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"}',
)
"""An API server that does not stream lists, as before 1.34: they are fetched page by page."""


def is_watch(request):
    return request.query.get("watch") in {"1", "true"}


def resource_of(path):
    """Return (API group, resource, whether one object is named) of a path."""
    found = RESOURCE.match(path)
    return ("", "", False) if found is None else (found["group"] or "", found["kind"], bool(found["name"]))


def verb_of(request):
    """Return the verb as RBAC has it."""
    if request.method == "GET":
        named = resource_of(request.path)[2]
        return "watch" if is_watch(request) else "get" if named else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]


class Door:
    """The proxy, from `open` to `close`. `fault` and `asked` may be set and read at any time."""

    def __init__(self, plane, port=DOOR):
        self.url, self._port = f"https://{ADDRESS}:{port}", port
        self.fault = None
        self.met = Counter()
        self.asked = Counter()
        self.tokens = []
        self.worthless = set()
        self.missing = set()
        self._plane = plane
        self._certificate = plane.authority.issue("door", "/CN=door", (ADDRESS,))
        self._upstream = plane.client(certificate=None, token="")
        self._running = set()
        self._runner = None

    async def open(self):
        """Listen (again)."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*map(str, self._certificate))
        application = web.Application(client_max_size=1 << 24)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        [listener] = self._plane.lab._namespaces.sockets(UNDERLAY, 2, 1)
        listener.setsockopt(1, 2, 1)  # SO_REUSEADDR
        listener.bind((ADDRESS, self._port))
        await web.SockSite(self._runner, listener, ssl_context=context).start()

    async def shut(self):
        """Listen no longer, and break every connection: the API server is gone."""
        self.cut()
        await self._runner.cleanup()

    async def close(self):
        await self.shut()
        await self._upstream.close()

    def cut(self):
        """Break what is under way, as a load balancer does that is replaced."""
        for task in list(self._running):
            task.cancel()

    async def _answer(self, request):
        self._running.add(asyncio.current_task())
        try:
            group, resource, _ = resource_of(request.path)
            self.asked[verb_of(request), group, resource] += 1
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            self.tokens.append(token)
            if token in self.worthless:
                self.met["worthless"] += 1
                return web.Response(status=401, body=UNAUTHORIZED, content_type="application/json")
            if resource in self.missing:
                return web.Response(status=404, text="404 page not found\n")
            fault = self.fault
            if fault is None or not fault.meets(request) or (fault.times and self.met[id(fault)] >= fault.times):
                return await self._pass_on(request, 0)
            self.met[id(fault)] += 1
            return await self._fail(request, fault)
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
            raise
        finally:
            self._running.discard(asyncio.current_task())

    async def _fail(self, request, fault):
        if fault.hang:
            await asyncio.Event().wait()
        if fault.cut:
            return await self._pass_on(request, fault.cut)
        if fault.lines:
            answer = web.StreamResponse(headers={"Content-Type": "application/json"})
            await answer.prepare(request)
            for line in fault.lines:
                await answer.write(line)
            return answer
        return web.Response(status=fault.status, headers=fault.headers, body=fault.body)

    async def _pass_on(self, request, limit):
        """Stream the API server's answer; with a limit, break off after so many bytes."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in NOT_PASSED}
        where, body = self._plane.server + request.path_qs, await request.read()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        session, answer = self._upstream._session, None
        try:
            async with session.request(request.method, where, data=body or None, headers=headers, timeout=timeout) as found:
                kept = {name: value for name, value in found.headers.items() if name in {"Content-Type", "Retry-After", "Audit-Id"}}
                answer = web.StreamResponse(status=found.status, headers=kept)
                await answer.prepare(request)
                passed = 0
                async for chunk in found.content.iter_any():
                    part = chunk[: limit - passed] if limit else chunk
                    await answer.write(part)
                    passed += len(part)
                    if limit and passed >= limit:
                        request.transport.abort()
                        return answer
                return answer
        except (aiohttp.ClientError, ConnectionError):
            if answer is None:
                raise web.HTTPBadGateway from None
            if request.transport is not None:
                request.transport.abort()  # the API server broke off, so does the proxy
            return answer

