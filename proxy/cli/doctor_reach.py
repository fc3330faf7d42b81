"""Whether what pods and the agent depend on answers: the DNS that pods ask, and the API server. The only part of `doctor` that sends.

DNS is asked only where an agent runs: its own resolver where it listens, and the cluster's DNS address, by the same rules that queries of
pods meet. The question is for the cluster's own domain, so nothing leaves the cluster. The API server is asked with the agent's credentials
whether it is ready, once, if a kubeconfig or its URL is configured.
"""

import asyncio
import time
from collections.abc import Iterable

from msgspec import Struct
from pointsman.explain.findings import Finding, Level
from pointsman.kube.client import connect
from pointsman.kube.errors import ApiConfigError, ApiError
from pointsman.proxy.cli import dns_state
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.config import Config, family_of
from pointsman.proxy.known import Known

DNS_PORT = 53
DNS_SECONDS, TRIES = 2.0, 2
"""How long one query may take, and how often it is sent."""
API_SECONDS = 10.0
_READY = "/readyz"


class Place(Struct, frozen=True):
    """Where DNS is asked, and who is there."""

    address: str
    port: int
    who: str


async def reach(config: Config, known: Known | None) -> list[Finding]:
    """Return what answers and what does not."""
    found = await of_dns(known) if known is not None and known.live else []
    return [*found, *await of_api(config, live=known is not None and known.live)]


async def of_dns(known: Known) -> list[Finding]:
    """Return whether DNS answers pods, as far as it is known whom they ask."""
    config = known.picture.config
    try:
        state = await asyncio.to_thread(dns_state.read, known.socket)
    except UnreachableError as error:
        return [_silent(error.format_message())] if config.dns else []
    found = []
    if state is not None and (wrong := dns_state.trouble(state)):
        found.append(_silent(wrong))
    elif state is None and config.dns:
        found.append(_silent("DNS is to run here, and its sockets could not be opened yet"))
    asked = places(state.listens if state is not None and state.serving else (), vips(known))
    return found + [await ask(one, config.dns_domain) for one in asked]


def places(listens: Iterable[str], addresses: Iterable[str]) -> tuple[Place, ...]:
    """Return whom to ask: the resolver where it listens at the port of DNS, and the cluster's addresses for DNS; each once."""
    found: dict[str, Place] = {}
    for text in listens:
        address, _, port = text.rpartition(":")
        address = address.strip("[]")
        if port == str(DNS_PORT):
            found.setdefault(address, Place("127.0.0.1" if address in {"::", "0.0.0.0"} else address, DNS_PORT, "this node's resolver"))  # noqa: S104
    for address in addresses:
        found.setdefault(address, Place(address, DNS_PORT, "the cluster's DNS address"))
    return tuple(found.values())


def vips(known: Known) -> tuple[str, ...]:
    """Return the cluster's addresses for DNS in the families that this node has."""
    seen = known.picture
    namespace, _, name = seen.config.dns_service.partition("/")
    texts = [ip for one in seen.services if (one.namespace, one.name) == (namespace, name) for ip in one.cluster_ips]
    return tuple(ip for ip in texts if (family := family_of(ip)) is not None and family in seen.node.node_ips)


async def ask(place: Place, domain: str) -> Finding:
    """Ask for the start of authority of the cluster's domain, which every DNS of a cluster has at once, and say what came."""
    import dns.exception  # noqa: PLC0415 - only where DNS is asked
    import dns.message  # noqa: PLC0415
    import dns.query  # noqa: PLC0415
    import dns.rcode  # noqa: PLC0415

    where = f"{place.who} {place.address}"
    why = "pods that ask there resolve no name"
    fix = f"pointsman explain --to {_socket(place)} --protocol udp; pointsman status"
    reply, wrong, began = None, "", time.monotonic()
    for _ in range(TRIES):
        began = time.monotonic()
        query = dns.message.make_query(f"{domain.rstrip('.')}.", "SOA")
        try:
            reply = await asyncio.to_thread(dns.query.udp, query, place.address, timeout=DNS_SECONDS, port=place.port)
            break
        except dns.exception.Timeout:
            wrong = f"did not answer {TRIES} queries within {DNS_SECONDS:.0f} s each"
        except (OSError, dns.exception.DNSException) as error:
            wrong = f"does not answer ({error})"
    if reply is None:
        return Finding(Level.BAD, "dns", f"{where} {wrong}", why, fix)
    took = (time.monotonic() - began) * 1000
    code = dns.rcode.to_text(reply.rcode())
    if code != "NOERROR":
        why = "it does not have the cluster's names, or cannot have them at the moment"
        return Finding(Level.WARN, "dns", f"{where} answers {code} for {domain}", why, "pointsman status; look at the log of the DNS there")
    return Finding(Level.OK, "dns", f"{where} answers for {domain} in {took:.1f} ms")


async def of_api(config: Config, *, live: bool = False) -> list[Finding]:
    """Return whether the API server answers, if it is known from here; with a running agent its credentials may be elsewhere."""
    if not (config.kubeconfig or config.master):
        return []
    named = config.kubeconfig or config.master
    why, fix = "changes of Services and endpoints do not arrive; what is programmed stays as it is", f"kubectl get --raw {_READY}"
    fix += f" --kubeconfig {config.kubeconfig}" if config.kubeconfig else f" --server {config.master}"
    try:
        client = await connect(config.kubeconfig, config.master)
    except ApiConfigError as error:
        return [] if live else [Finding(Level.BAD, "api", f"{named}: {error}", why, "see the text")]
    began = time.monotonic()
    try:
        async with asyncio.timeout(API_SECONDS):
            await client.get(_READY, accept="*/*")
    except TimeoutError:
        return [Finding(Level.BAD, "api", f"{client.host} did not answer within {API_SECONDS:.0f} s", why, fix)]
    except ApiError as error:
        level = Level.WARN if error.denied else Level.BAD  # who is known and may not ask this may still watch
        return [Finding(level, "api", f"{client.host}{_READY}: {error}", why, fix)]
    else:
        return [Finding(Level.OK, "api", f"{client.host} is ready, and answered in {(time.monotonic() - began) * 1000:.0f} ms")]
    finally:
        await client.close()


def _silent(text: str) -> Finding:
    why = "queries of pods go to the endpoints of the cluster's DNS Service, or to nobody"
    return Finding(Level.BAD, "dns", text, why, "pointsman status; look at the agent's log")


def _socket(place: Place) -> str:
    return f"[{place.address}]:{place.port}" if ":" in place.address else f"{place.address}:{place.port}"
