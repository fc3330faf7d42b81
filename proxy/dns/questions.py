"""Asking the running DNS about itself: why a name gets the answer that it gets, who asks what, which upstream is slow.

A Unix socket takes one question per connection, a line of JSON, and gives one answer (`pointsman dns query`, `pointsman dns top`). A
question may name a Pod: then the search path is walked for it as its C library would (SRC-02), each step asked of the resolver, up to the
first that is not NXDOMAIN. The resolver explains a single name; what it explains comes as rows of label and text.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from pointsman.dns.corefile.options import KubernetesOptions
from pointsman.kube.objects import Pod
from pointsman.proxy import memory
from pointsman.proxy import socket as status_socket
from pointsman.proxy.dns.service import DnsService
from pointsman.proxy.socket import SocketError

log = logging.getLogger(__name__)

NDOTS = 5
"""Names with fewer dots are looked for on the search path first, as kubelet configures pods."""
LONGEST = 4096
STATE = "state"
"""What to ask for the state of all."""
SERVING, LISTENS, RESTARTS, FAILURE, NAMES, WAITING, MEMORY = "serving", "listens", "restarts", "failure", "names", "waiting", "memory"
"""Labels of the rows that tell the state."""
PATIENCE = 10.0


class Question(Struct, frozen=True):
    """What is asked: `explain` a name, `top`, or the `state` of all. `pod` is namespace/name, or an address."""

    what: str = "explain"
    name: str = ""
    qtype: str = "A"
    pod: str = ""


class Step(Struct, frozen=True):
    """One name that was asked, what the resolver says about it, and the rcode (`NXDOMAIN`), empty if there was no answer."""

    name: str
    rows: tuple[tuple[str, ...], ...] = ()
    rcode: str = ""


class Explanation(Struct, frozen=True):
    """The steps in order; `error` says why there are none. `client` is the address for which it was asked.

    `note` says why it was not asked as was wished.
    """

    steps: tuple[Step, ...] = ()
    client: str = ""
    error: str = ""
    note: str = ""


def candidates(name: str, namespace: str, domain: str) -> tuple[str, ...]:
    """Return the names that a C library asks one after the other for a Pod of this namespace (SRC-01, SRC-02); all end with a dot."""
    if name.endswith("."):
        return (name,)
    searched = tuple(f"{name}.{suffix}" for suffix in (f"{namespace}.svc.{domain}", f"svc.{domain}", domain))
    return (*searched, f"{name}.") if name.count(".") < NDOTS else (f"{name}.", *searched)


async def explain(service: DnsService, question: Question) -> Explanation:
    """Return what becomes of a question."""
    client, namespace, error, note = _client(service, question.pod)
    if error:
        return Explanation(error=error)
    own = (zone for each in service.corefile.all(KubernetesOptions) for zone in each.zones if zone not in each.multicluster)
    domain = next((zone for zone in own if not zone.endswith("arpa.")), "")
    names = candidates(question.name, namespace, domain) if namespace and domain else (f"{question.name.rstrip('.')}.",)
    steps: list[Step] = []
    for name in names:
        answer = await service.ask(question.what, name, question.qtype, client)
        if answer is None:
            return Explanation(tuple(steps), client, "the resolver does not answer at the moment; look at its log")
        steps.append(Step(name, answer.rows, answer.rcode))
        if answer.rcode != "NXDOMAIN":
            break
    return Explanation(tuple(steps), client, note=note)


def _client(service: DnsService, pod: str) -> tuple[str, str, str, str]:
    """Return the address and namespace of a Pod, or why they are not known; and what is to be noted about that."""
    pods = service.telling.snapshot.pods
    if not pod:
        return "", "", "", ""
    if "/" not in pod:
        owner = next((space for (space, _), each in pods.items() if pod in _addresses(each)), "")
        return pod, owner, "", "" if owner else f"no Pod with the address {pod} is known here: asked without a search path"
    namespace, _, name = pod.partition("/")
    found = pods.get((namespace, name))
    if found is not None:
        return found.status.pod_ip or "", namespace, "", ""
    if not pods:  # pods are not read: the namespace is all that the search path needs
        return "", namespace, "", ""
    return "", "", f"Pod {pod} is not known here; name a Pod of this node, or an address", ""


def _addresses(pod: Pod) -> tuple[str, ...]:
    """Return the addresses that are a Pod's alone."""
    if pod.spec.host_network:
        return ()
    return (pod.status.pod_ip or "", *(each.ip or "" for each in pod.status.pod_ips or ()))


def state(service: DnsService) -> tuple[tuple[str, ...], ...]:
    """Return how the resolvers are, as rows; known without asking them, so that there is an answer while they do not work."""
    telling, running = service.telling, [each.resolver for each in service.supervisors if each.resolver is not None]
    names = "complete" if telling.complete else "saved" if telling.stale else "unknown"
    failures = [(FAILURE, each.failure) for each in service.supervisors if each.failure and not each.serving]
    used = 0
    for each in running:
        with suppress(OSError):
            used += memory.resident(each.process.pid)
    return (
        (SERVING, "yes" if service.serving or service.succeeds else "no"),
        *((LISTENS, str(place)) for place in service.listens),
        (RESTARTS, str(sum(each.restarts for each in service.supervisors))),
        *failures,
        (NAMES, names if service.cluster else "none"),
        (WAITING, str(telling.waiting)),
        (MEMORY, str(used)),
    )


async def serve(path: str, service: DnsService) -> None:
    """Answer questions at a path until cancelled; without a path, or where none can be had, nobody is answered."""
    if not path:
        await asyncio.Event().wait()
    told = ""
    while True:
        try:
            with status_socket.claim(path) as listening:
                server = await asyncio.start_unix_server(_taker(service), sock=listening, limit=LONGEST)
                async with server:
                    await server.serve_forever()
        except SocketError as error:
            if str(error) != told:
                told = str(error)
                log.warning("`pointsman dns query` is not answered, DNS goes on", extra={"error": told})
            await asyncio.sleep(status_socket.RETRY)


def _taker(service: DnsService) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                writer.write(msgspec.json.encode(await _answered(service, await reader.readline())) + b"\n")
                await writer.drain()
        writer.close()

    return take


async def _answered(service: DnsService, line: bytes) -> Explanation:
    try:
        question = msgspec.json.decode(line, type=Question)
    except msgspec.DecodeError as error:
        return Explanation(error=f"this is no question: {error}")
    if question.what == STATE:
        return Explanation((Step("", state(service)),))
    if question.what != "explain":
        answer = await service.ask(question.what)
        return Explanation((Step("", answer.rows),)) if answer is not None else Explanation(error="the resolver does not answer")
    return await explain(service, question)


def default_path(status: str) -> str:
    """Return the path beside the agent's own socket."""
    return str(Path(status).with_name("dns.sock"))
