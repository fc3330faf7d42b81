"""Requests to the API server: bytes out, bytes in.

`connect` finds out where the server is (`access`) and returns an `ApiClient`; its session and TLS context are the official client's. The
client does not know what it transports, and never retries on its own but for one thing: after 401 everything is read again and the request
sent once more, as a token may have been replaced a moment ago. When certificates have changed a new session is made; streams that run keep
the old one until they end.

Nothing here waits for ever: connecting, the first byte and each further one have their limits, and the kernel finds dead connections by
keep-alive probes within about half a minute. Whatever goes wrong is an `ApiError`, worded for people. Every request is told to an observer
(method, status or `<error>`, host, seconds until the headers), from which metrics are made (MET-15).
"""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct
from pointsman.kube.access import Access, Identity, Place
from pointsman.kube.errors import ApiConfigError, ApiError
from pointsman.kube.library import Library, RestClient, load
from pointsman.kube.throttle import Throttle

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 15.0
"""Longest wait for a connection with TLS."""

ANSWER_SECONDS: Final = 60.0
"""Longest wait for the headers of an answer, and for each further part of a body."""

LONGEST_BODY: Final = 256 * 1024 * 1024
"""A longer body is none of an API server."""

PREPARE_SECONDS: Final = 60.0
"""Longest wait for credentials: a plug-in that hangs must not hang the agent."""

_READ_BUFFER: Final = 64 * 1024
_ERROR_BODY: Final = 64 * 1024
_AGENT: Final = "pointsman"

RequestObserver = Callable[[str, str, str, float], None]
"""Is told of each request: HTTP method, status code or `<error>`, host, seconds until the headers of the answer."""

Query = Mapping[str, str]


def observe_nothing(_method: str, _code: str, _host: str, _seconds: float) -> None:
    """Observe nothing."""


async def connect(
    kubeconfig: str, master: str, *, qps: float = 5.0, burst: int = 10, on_request: RequestObserver = observe_nothing,
) -> "ApiClient":
    """Return a client for the API server. Nothing is sent yet. Raises ApiConfigError if it is not known whom to ask, or as whom."""
    library = await asyncio.to_thread(load)
    client = ApiClient(Access(Place(kubeconfig, master), library), library, Throttle(qps, burst), on_request)
    await client.prepare()
    return client


class _Request(Struct, frozen=True):
    """What is sent."""

    method: str
    path: str
    headers: dict[str, str]
    query: Query | None = None
    body: object = None


class _Status(Struct):
    """The API's own description of a failure."""

    message: str = ""
    reason: str = ""


class _Session(Struct, eq=False):
    """An HTTP session, what it was made of, and how many requests use it."""

    rest: RestClient
    connector: "aiohttp.TCPConnector"
    identity: Identity
    users: int = 0
    retired: bool = False

    async def close_if_unused(self) -> None:
        """Close it once it is retired and nobody uses it."""
        if self.retired and self.users == 0:
            await self.rest.close()
            await self.connector.close()


class ApiClient:
    """Speaks to one API server."""

    def __init__(self, access: Access, library: Library, throttle: Throttle, on_request: RequestObserver = observe_nothing) -> None:
        self._access = access
        self._library = library
        self._throttle = throttle
        self._on_request = on_request
        self._session: _Session | None = None
        self._preparing = asyncio.Lock()
        self._told = ""

    @property
    def host(self) -> str:
        """Return the server's URL."""
        return self._access.host

    async def get(self, path: str, query: Query | None = None, *, accept: str = "application/json") -> bytes:
        """Return the body at a path such as `/api/v1/nodes`. Raises ApiError."""
        async with self._asked(_Request("GET", path, {"Accept": accept}, query)) as response:
            return await _whole(self.host, response, LONGEST_BODY)

    async def post(self, path: str, body: object) -> bytes:
        """Create an object from plain values (`msgspec.to_builtins`). Raises ApiError."""
        async with self._asked(_Request("POST", path, {"Content-Type": "application/json"}, body=body)) as response:
            return await _whole(self.host, response, LONGEST_BODY)

    async def patch(self, path: str, body: object, *, content_type: str = "application/merge-patch+json") -> bytes:
        """Change an object. Raises ApiError."""
        async with self._asked(_Request("PATCH", path, {"Content-Type": content_type}, body=body)) as response:
            return await _whole(self.host, response, LONGEST_BODY)

    @asynccontextmanager
    async def stream(self, path: str, query: Query | None = None) -> AsyncIterator["Stream"]:
        """Open an answer that is read part by part. Raises ApiError, also while it is read."""
        async with self._asked(_Request("GET", path, {"Accept": "application/json"}, query)) as response:
            yield Stream(self.host, response)

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            self._session.retired = True
            self._session.users = 0
            await self._session.close_if_unused()
            self._session = None

    async def prepare(self) -> None:
        """Read files and credentials if it is time, and have a session that fits them.

        Raises ApiConfigError at the first time. Later the former ones stay in use, and it is tried again with the next request.
        """
        async with self._preparing:
            if not self._access.outdated(time.monotonic()):
                return
            try:
                async with asyncio.timeout(PREPARE_SECONDS):
                    await self._access.refresh(time.monotonic())
                await self._renew()
            except (TimeoutError, ApiConfigError) as error:
                told = ApiConfigError(str(error) or f"the credential plug-in did not end within {PREPARE_SECONDS:.0f} seconds")
                if self._session is None:
                    raise told from error
                if str(told) != self._told:
                    log.warning("credentials cannot be read again; the former ones stay in use", extra={"error": str(told)})
                self._told = str(told)
            else:
                self._told = ""

    async def _renew(self) -> None:
        """Have a session that fits the certificates in force. Raises ApiConfigError."""
        identity, former = self._access.identity, self._session
        if former is not None and former.identity == identity:
            return
        from aiohttp import TCPConnector  # noqa: PLC0415 - loaded with the library, in a thread

        try:
            rest = self._library.rest(self._access.configuration)
        except (OSError, ValueError) as error:
            raise ApiConfigError(f"the certificates for {self.host} cannot be used: {error}") from error
        connector = TCPConnector(ssl=rest.ssl_context, limit=0, socket_factory=_socket)
        own = {"connector": connector, "read_bufsize": _READ_BUFFER, "trust_env": False}  # the environment is read by `detour`
        self._access.configuration.client_session_kwargs = own
        self._session = _Session(rest, connector, identity)
        if former is not None:
            former.retired = True
            await former.close_if_unused()

    @asynccontextmanager
    async def _asked(self, request: _Request) -> AsyncIterator["aiohttp.ClientResponse"]:
        """Send a request, twice if it is not authorized at first; inside, the body of a good answer may be read. Raises ApiError."""
        if not (request.query and "continue" in request.query):  # a further page belongs to the request for the first one
            await asyncio.sleep(self._throttle.reserve(time.monotonic()))
        for last in (False, True):
            async with self._sent(request) as response:
                if response.status == 401 and not last:
                    if response.request_info.headers.get("Authorization", "") == self._access.authorization:
                        self._access.distrust()  # unless somebody else has just had newer credentials read
                elif response.status >= 400:
                    raise await self._refusal(response)
                else:
                    yield response
                    return

    @asynccontextmanager
    async def _sent(self, request: _Request) -> AsyncIterator["aiohttp.ClientResponse"]:
        """Send a request; inside, its answer's headers are there. Raises ApiError."""
        try:
            await self.prepare()
        except ApiConfigError as error:
            raise ApiError(0, str(error)) from error
        session = self._session
        if session is None:
            raise ApiError(0, "the client is closed")
        session.users += 1
        try:
            response = await self._answer(session, request)
            try:
                yield response
            finally:
                response.close()
        finally:
            session.users -= 1
            await session.close_if_unused()

    async def _answer(self, session: _Session, request: _Request) -> "aiohttp.ClientResponse":
        """Send a request and wait for the headers; tell the observer. Raises ApiError."""
        from aiohttp import ClientTimeout  # noqa: PLC0415 - as above
        from yarl import URL  # noqa: PLC0415 - as above

        headers = {"User-Agent": _AGENT, **request.headers}
        if self._access.authorization:
            headers["Authorization"] = self._access.authorization
        url = self.host + request.path + (f"?{urlencode(request.query)}" if request.query else "")
        began, code = time.monotonic(), "<error>"
        try:
            with _worded(self.host):
                target = URL(url, encoded=True)
                limits = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
                async with asyncio.timeout(ANSWER_SECONDS):
                    got = await session.rest.request(request.method, target, headers, request.body, _request_timeout=limits)
                code = str(got.response.status)
                return got.response
        finally:
            self._on_request(request.method, code, urlsplit(self.host).netloc, time.monotonic() - began)

    async def _refusal(self, response: "aiohttp.ClientResponse") -> ApiError:
        """Return the error that an answer means."""
        try:
            body = await _whole(self.host, response, _ERROR_BODY)
        except ApiError:
            body = b""
        try:
            text = msgspec.json.decode(body, type=_Status).message
        except (msgspec.MsgspecError, UnicodeDecodeError):
            text = ""
        return ApiError(response.status, text or response.reason or "refused", _seconds(response.headers.get("Retry-After")))


class Stream:
    """An answer that is read part by part."""

    def __init__(self, host: str, response: "aiohttp.ClientResponse") -> None:
        self._host = host
        self._response = response

    async def read(self, patience: float = ANSWER_SECONDS) -> bytes:
        """Return the next part, empty at the end; raises ApiError if nothing comes for `patience` seconds or the connection breaks."""
        with _worded(self._host):
            async with asyncio.timeout(patience):
                return await self._response.content.readany()


async def _whole(host: str, response: "aiohttp.ClientResponse", longest: int) -> bytes:
    """Return a whole body. Raises ApiError if it is too long or does not come."""
    stream, parts, size = Stream(host, response), [], 0
    while part := await stream.read():
        parts.append(part)
        size += len(part)
        if size > longest:
            raise ApiError(0, f"{host} answers with more than {longest >> 20} MiB; is it an API server?")
    return b"".join(parts)


@contextmanager
def _worded(host: str) -> Iterator[None]:
    """Turn what transport raises into ApiError."""
    import aiohttp  # noqa: PLC0415 - as above

    try:
        yield
    except TimeoutError as error:
        raise ApiError(0, f"{host} does not answer") from error
    except aiohttp.ClientConnectorCertificateError as error:
        reason = f"{host} has a certificate that is not accepted ({error.certificate_error}); is the configured CA this cluster's?"
        raise ApiError(0, reason) from error
    except aiohttp.ClientConnectorDNSError as error:
        raise ApiError(0, f"{host}: the name cannot be resolved ({error.strerror})") from error
    except aiohttp.ClientConnectorError as error:
        raise ApiError(0, f"{host} cannot be reached ({error.strerror or error})") from error
    except (aiohttp.ClientError, OSError, ValueError, EOFError) as error:
        raise ApiError(0, f"{host}: {str(error) or type(error).__name__}") from error


def _seconds(text: str | None) -> float | None:
    """Return a Retry-After header in seconds; its other form, a date, would need the clocks to agree and is not used by API servers."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None


def _socket(address: "aiohttp.AddrInfoType") -> socket.socket:
    """Return a socket whose dead connection the kernel finds: probes after 15 s of silence, or bytes not acknowledged for 30 s."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3), (socket.TCP_USER_TIMEOUT, 30_000)):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
