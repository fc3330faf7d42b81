"""Why an answer is what it is, in words."""

import pytest
from fakes.dns_cluster import endpoint, endpoint_slice, import_slice, pod, service, service_import, snapshot_of
from fakes.dns_process import COREFILE
from pointsman.dns.books import Books
from pointsman.dns.explain import explain, storms, top
from pointsman.dns.feed import Listener, Start
from pointsman.dns.hot import Hot, Room
from pointsman.dns.journal import Journal
from pointsman.dns.reply import Record, Reply
from pointsman.dns.server import Desk
from pointsman.dns.serving import Serving

OBJECTS = (
    service("web", "10.96.0.1"), endpoint_slice("web", endpoint("10.0.0.7")), service("db", "None"),
    service("ext", external="web.shop.svc.cluster.local"),
    pod("client", "10.0.0.99"),
    service_import("web", "10.96.0.9"), service_import("new"),
    import_slice("web", "east", endpoint("10.1.0.1")), import_slice("web", "west", endpoint("10.2.0.1")),
)  # fmt: skip
CLUSTERSET = COREFILE.replace("ip6.arpa {", "ip6.arpa clusterset.local {\n        multicluster clusterset.local")


@pytest.fixture
async def serving(tmp_path):
    path = tmp_path / "Corefile"
    path.write_text(CLUSTERSET)
    made = Serving(Start((), str(path), everywhere=True), lambda level, text: None)
    for news in Journal(pods=True).whole(snapshot_of(*OBJECTS), 1.0):
        made.apply(news)
    chain = made.site.everywhere("dns://:53")

    hot = Hot(lambda records: None, Room(1 << 20), made.top)
    made.desks.append(
        (Listener(0, "udp", "127.0.0.1", 53, 53), Desk(chain, made.catalog, Books(made.tally, chain.label, "udp", "1"), hot, made.top))
    )
    return made


CASES = [
    ("web.shop.svc.cluster.local", "A", "service", "shop/web: cluster IP, ports http 80/TCP, 1 ready endpoint (10-0-0-7)"),
    ("web.shop.svc.cluster.local", "A", "answer", "web.shop.svc.cluster.local. 5 A 10.96.0.1"),
    ("web.shop.svc.cluster.local", "AAAA", "rcode", "NOERROR without an answer (NODATA): the name exists, but has no record of this type"),
    ("db.shop.svc.cluster.local", "A", "service", "shop/db: headless without a ready endpoint, so the name does not exist"),
    ("nosuch.shop.svc.cluster.local", "A", "service", "shop/nosuch does not exist"),
    ("web.nosuch.svc.cluster.local", "A", "namespace", "nosuch does not exist"),
    ("shop.svc.cluster.local", "A", "namespace", "shop"),
    ("web.cluster.local", "A", "name", "no Service's and no Pod's: those end in NAMESPACE.svc or NAMESPACE.pod and the zone"),
    ("ext.shop.svc.cluster.local", "A", "service", "shop/ext: an alias (ExternalName) of web.shop.svc.cluster.local"),
    ("7.0.0.10.in-addr.arpa", "PTR", "service", "shop/web: cluster IP, ports http 80/TCP, 1 ready endpoint (10-0-0-7)"),
    ("9.9.9.9.in-addr.arpa", "PTR", "service", "no Service has this address"),
    ("9.9.in-addr.arpa", "PTR", "name", "not a whole address"),
    ("web.shop.svc.clusterset.local", "A", "import",
     "shop/web: clusterset IP, ports http 80/TCP, 2 ready endpoints (10-1-0-1, 10-2-0-1) of east, west"),
    ("web.shop.svc.clusterset.local", "A", "answer", "web.shop.svc.clusterset.local. 5 A 10.96.0.9"),
    ("new.shop.svc.clusterset.local", "A", "import", "shop/new: an import without an address, 0 ready endpoints"),
    ("db.shop.svc.clusterset.local", "A", "import", "shop/db does not exist"),
    ("example.com", "A", "rcode", "SERVFAIL: it could not be found out"),
    ("a..b", "A", "error", "'a..b': a label must have 1 to 63 bytes, this one has 0"),
    ("web", "TYPE65536", "error", "TYPE65536 is no type of records: write A, AAAA, SRV, PTR, TXT or TYPE65"),
    ("web", "TYPE²", "error", "TYPE² is no type of records: write A, AAAA, SRV, PTR, TXT or TYPE65"),
    ("web", "NONSENSE", "error", "NONSENSE is no type of records: write A, AAAA, SRV, PTR, TXT or TYPE65"),
]


@pytest.mark.parametrize(("name", "qtype", "label", "text"), CASES)
async def test_words(serving, name, qtype, label, text):
    rows = (await explain(serving, name, qtype, "10.0.0.99")).rows
    assert text in [row[1] for row in rows if row[0] == label]


async def test_a_pod_with_addresses_of_both_families_is_one_endpoint(serving):
    sliced = (
        endpoint_slice("both", *(endpoint(f"10.0.1.{number}", pod=f"both-{number}") for number in (1, 2)), suffix="four"),
        endpoint_slice("both", *(endpoint(f"fd00::{number}", pod=f"both-{number}") for number in (1, 2)), suffix="six", family="IPv6"),
    )
    for news in Journal(pods=True).whole(snapshot_of(service("both", "10.96.0.2", "fd00:10:96::2"), *sliced), 2.0):
        serving.apply(news)
    rows = dict((await explain(serving, "both.shop.svc.cluster.local", "A", "")).rows)
    assert "2 ready endpoints (10-0-1-1, 10-0-1-2)" in rows["service"]


async def test_the_upstream_is_named_also_where_the_cache_answers(serving):
    class Chain:
        label, plain, speculate, enabled = "dns://:53", (), None, ()

        async def answer(self, query):
            return Reply(plugin="cache", origin="192.0.2.53:53")

    serving.desks[0][1].chain = Chain()
    rows = dict((await explain(serving, "example.com", "A", "")).rows)
    assert (rows["plugin"], rows["upstream"]) == ("cache", "192.0.2.53:53")


async def test_who_asks_is_named(serving):
    rows = dict((await explain(serving, "web.shop.svc.cluster.local", "TYPE65", "10.0.0.99")).rows)
    assert rows["client"] == "Pod shop/client"
    assert rows["plugin"] == "kubernetes"
    assert rows["zone"] == "."
    assert "client" not in dict((await explain(serving, "web.shop.svc.cluster.local", "A", "")).rows)


async def test_an_unnamed_client_has_an_address_for_rules_and_a_wrong_one_is_told(serving):
    asked = []

    class Chain:
        label, plain, speculate, enabled = "dns://:53", (), None, ()

        async def answer(self, query):
            asked.append(query.client[0])

    serving.desks[0][1].chain = Chain()
    await explain(serving, "web", "A", "")
    await explain(serving, "web", "A", "fe80::1%eth0")
    assert asked == ["127.0.0.1", "fe80::1%eth0"]
    assert (await explain(serving, "web", "A", "shop-web")).rows == (("error", "shop-web is no address of a client"),)


async def test_a_record_that_nobody_can_read_is_shown_as_it_came(serving):
    class Chain:
        label, plain, speculate, enabled = "dns://:53", (), None, ()

        async def answer(self, query):
            return Reply(answer=(Record(query.name, 1, 60, b"\x01\x02"),))

    serving.desks[0][1].chain = Chain()
    assert ("answer", "web. 60 A \\# 2 0102") in (await explain(serving, "web", "A", "")).rows


async def test_storms_are_told_by_pod(serving):
    for host in (b"\x0a\x00\x00\x63", b"\x0a\x00\x00\x63", b"\xc0\x00\x02\x01"):
        serving.storms.count(host)
    assert storms(serving) == (("Pod shop/client", "2"), ("192.0.2.1", "1"))


async def test_what_is_not_known_yet_is_said(serving):
    serving.catalog.imports_known = False
    rows = dict((await explain(serving, "db.shop.svc.clusterset.local", "A", "")).rows)
    assert "ServiceImports have not been read" in rows["import"]
    assert rows["rcode"].startswith("SERVFAIL")
    serving.catalog.synced = False
    assert "not known yet" in dict((await explain(serving, "x.shop.svc.cluster.local", "A", "")).rows)["cluster"]
    serving.desks.clear()
    assert dict((await explain(serving, "x", "A", "")).rows) == {"error": "the resolver does not answer yet"}
    assert top(serving) == ()
