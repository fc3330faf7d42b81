"""Why a name is answered as it is, in words: what `pointsman dns query` shows.

The query is really asked, of the chain of the first listener, as the given client would ask it; then what the answer says about itself (its
server block, the plugin that made it) is joined with what the catalog says about the name: which Service or Pod is meant, what stands
behind it, and what is missing if there is no answer. Rows are a label and a text.
"""

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from msgspec import Struct
from pointsman.dns.books import RCODES, TYPES
from pointsman.dns.catalog import Catalog
from pointsman.dns.corefile.options import KubernetesOptions
from pointsman.dns.entries import endpoint_name
from pointsman.dns.facts import ABSENT, EXTERNAL, HEADLESS, EndpointFact, ServiceFact, packed
from pointsman.dns.names import NotANameError, address_of, cut, join, labels, text, wire
from pointsman.dns.owners import number
from pointsman.dns.question import RD, Query
from pointsman.dns.reply import Reply

if TYPE_CHECKING:
    from pointsman.dns.serving import Serving

Row = tuple[str, ...]


class Explained(Struct, frozen=True):
    """What there is to say of a name: rows for people, and the rcode of the answer (`NXDOMAIN`), empty if it was not answered."""

    rows: tuple[Row, ...]
    rcode: str = ""


NUMBERS = {name: number for number, name in TYPES.items()}
WRITE = "write A, AAAA, SRV, PTR, TXT or TYPE65"
SHOWN = 20
NOBODY = "127.0.0.1"
"""Who asks if nobody is named: rules for clients need an address."""


def top(serving: "Serving") -> tuple[Row, ...]:
    """Return the names that are asked most, with how often, since they were first noted."""
    for _, desk in serving.desks:
        desk.settle()
    return tuple((text(name), str(times)) for name, times in serving.top.most())


def storms(serving: "Serving") -> tuple[Row, ...]:
    """Return who asks most for names that do not exist, by sample: Pod or address, and how often."""
    found = []
    for host, times in serving.storms.most():
        address = str(ip_address(host))
        pod = serving.catalog.pods.at(packed(address) or host)
        found.append((f"Pod {pod.namespace}/{pod.name}" if pod else address, str(times)))
    return tuple(found)


async def explain(serving: "Serving", name: str, qtype: str, client: str) -> Explained:
    """Ask a name and say why it is answered so."""
    number_of_type = type_number(qtype)
    client = client or NOBODY
    if packed(client.partition("%")[0]) is None:
        return _unasked(f"{client} is no address of a client")
    try:
        asked = wire(name)
    except NotANameError as error:
        return _unasked(str(error))
    if not number_of_type:
        return _unasked(f"{qtype} is no type of records: {WRITE}")
    if not serving.desks:
        return _unasked("the resolver does not answer yet")
    query = Query(0, RD, asked, asked.lower(), number_of_type, client=(client, 0), udp=False, started=time.monotonic())
    began = time.monotonic()
    reply = await serving.desks[0][1].ask(query)
    took = time.monotonic() - began
    if reply is None:
        return Explained((("answer", "none at all: a rule of acl drops this query"),))
    rows: list[Row] = [("zone", reply.zone or "no server block has this name"), ("plugin", reply.plugin or "none")]
    rows += [("error", reply.error)] if reply.error else []
    rows += [("upstream", reply.origin)] if reply.origin else []
    rows += about(serving, query.key)
    rcode = RCODES.get(reply.rcode, str(reply.rcode))
    rows.append(("rcode", _meant(rcode, reply)))
    rows += [("answer", shown) for shown in _records(reply)]
    rows += _lives(serving, reply)
    rows.append(("took", f"{took * 1000:.2f} ms"))
    pod = serving.catalog.pods.at(address) if (address := packed(client)) else None
    return Explained((*((("client", f"Pod {pod.namespace}/{pod.name}"),) if pod else ()), *rows), rcode)


def _unasked(reason: str) -> Explained:
    return Explained((("error", reason),))


def type_number(qtype: str) -> int:
    """Return the number of a type by its name or as TYPE and a number; 0 if it is none."""
    name, digits = qtype.upper(), qtype[4:]
    if name.startswith("TYPE") and digits.isdecimal() and digits.isascii() and len(digits) <= 5 and int(digits) < 65536:
        return int(digits)
    return NUMBERS.get(name, 0)


def about(serving: "Serving", key: bytes) -> list[Row]:
    """Return what the catalog says of a name (lower case)."""
    catalog = serving.catalog
    for option in serving.corefile.all(KubernetesOptions):
        for zone in sorted((wire(zone.lower()) for zone in option.zones), key=len, reverse=True):
            left = cut(key, zone)
            if left < 0:
                continue
            if not catalog.synced:
                return [("cluster", "not known yet: the API server has not been listed completely")]
            if zone.endswith(b"\x04arpa\x00"):
                return _reverse(catalog, key)
            imported = any(cut(zone, wire(each.lower())) >= 0 for each in option.multicluster)
            return _forward(catalog, labels(key[:left] + b"\x00"), imported=imported)
    return []


def _forward(catalog: Catalog, parts: list[bytes], *, imported: bool) -> list[Row]:
    if len(parts) < 2 or parts[-1] not in (b"svc", b"pod"):
        return [("name", "no Service's and no Pod's: those end in NAMESPACE.svc or NAMESPACE.pod and the zone")] if parts else []
    space = parts[-2].decode("latin-1")
    if join((parts[-2],), b"") not in catalog.namespaces:
        return [("namespace", f"{space} does not exist")]
    if parts[-1] == b"pod" or len(parts) == 2:
        return [("namespace", space)]
    name = parts[-3].decode("latin-1")
    kind = "import" if imported else "service"
    fact = (catalog.imports if imported else catalog.services).get(join((parts[-3], parts[-2]), b""))
    if fact is not None and fact.kind != ABSENT:
        return [(kind, f"{space}/{name}: {_described(fact)}")]
    if imported and not catalog.imports_known:
        return [(kind, f"{space}/{name} is not known: ServiceImports have not been read; the agent's log says whether they may be")]
    return [(kind, f"{space}/{name} does not exist")]


def _reverse(catalog: Catalog, key: bytes) -> list[Row]:
    address = address_of(key)
    if address is None:
        return [("name", "not a whole address")]
    owners = [*catalog.virtual.of(number(address)), *catalog.endpoints.of(number(address))]
    facts = [fact for owner in owners if (fact := catalog.services.get(owner)) is not None]
    found = [("service", f"{fact.namespace}/{fact.name}: {_described(fact)}") for fact in facts]
    return [*found] or [("service", "no Service has this address")]


def _described(fact: ServiceFact) -> str:
    ready = _ready(fact)
    names = ", ".join(endpoint_name(each) for each in ready[:3]) + (", ..." if len(ready) > 3 else "")
    clusters = ", ".join(sorted({each.cluster for each in fact.slices if each.cluster}))
    behind = f"{len(ready)} ready endpoint{'' if len(ready) == 1 else 's'}" + (f" ({names})" if ready else "")
    behind += f" of {clusters}" if clusters else ""
    if fact.kind == EXTERNAL:
        return f"an alias (ExternalName) of {fact.external_name}"
    if fact.kind == HEADLESS:
        return f"headless, {behind}" if ready else "headless without a ready endpoint, so the name does not exist"
    ports = ", ".join(f"{port.name or 'unnamed'} {port.port}/{port.protocol}" for port in fact.ports if port.port >= 0)
    if fact.imported and not fact.addresses:
        return f"an import without an address, {behind}"
    return f"{'clusterset' if fact.imported else 'cluster'} IP, ports {ports or 'none'}, {behind}"


def _ready(fact: ServiceFact) -> list[EndpointFact]:
    """Return the ready endpoints, a Pod with addresses of both families as one."""
    found: dict[tuple[str, str | bytes], EndpointFact] = {}
    for part in fact.slices:
        for each in part.named:
            found.setdefault((part.cluster, each.target or each.address), each)
    return list(found.values())


def _meant(code: str, reply: Reply) -> str:
    if code == "NOERROR" and not reply.answer:
        return "NOERROR without an answer (NODATA): the name exists, but has no record of this type"
    return {"NXDOMAIN": "NXDOMAIN: the name does not exist", "SERVFAIL": "SERVFAIL: it could not be found out"}.get(code, code)


def _records(reply: Reply) -> list[str]:
    """Return the records as text."""
    from dns.exception import DNSException  # noqa: PLC0415 - only people need it; the hot path's memory does not pay for it
    from dns.rdata import from_wire  # noqa: PLC0415
    from dns.rdataclass import IN  # noqa: PLC0415
    from dns.rdatatype import RdataType  # noqa: PLC0415

    shown = []
    for record in reply.answer[:SHOWN]:
        try:
            value = from_wire(IN, RdataType.make(record.rtype), record.rdata, 0, len(record.rdata)).to_text()
        except DNSException:  # what an upstream sent need not be what its type says
            value = f"\\# {len(record.rdata)} {record.rdata.hex()}"
        shown.append(f"{text(record.owner)} {record.ttl} {TYPES.get(record.rtype, f'TYPE{record.rtype}')} {value}")
    return [*shown, f"and {len(reply.answer) - SHOWN} more"] if len(reply.answer) > SHOWN else shown


def _lives(serving: "Serving", reply: Reply) -> list[Row]:
    life = reply.life
    if life is None:
        return []
    if life.counting:
        now = serving.around.clock()
        return [("cache", f"kept since {max(0.0, now - life.born):.0f} s, for {max(0.0, life.until - now):.0f} s more")]
    return [("memory", "made of what the cluster is now; good until that changes")]
