"""The plugin: aliases, fallthrough, and a cluster that is not known yet."""

import pytest
from fakes.dns_cluster import ask, catalog_of, endpoint, endpoint_slice, outcome, plugin, service, texts
from pointsman.dns.names import wire
from pointsman.dns.question import NXDOMAIN, SERVFAIL, TC
from pointsman.dns.reply import Record, Reply, failure

WEB = (service("web", "10.96.1.1"), service("db", "None"), endpoint_slice("db", endpoint("10.0.0.1")))


def alias(name, target):
    return service(name, external=target)


def answering(reply):
    async def responder(query):
        responder.asked.append(query.name)
        return reply

    responder.asked = []
    return responder


def named(name):
    return f"{name}.shop.svc.cluster.local"


def test_rec_61_an_alias_inside_the_zone_is_followed():
    cluster = plugin(catalog_of(*WEB, alias("a", named("web")), alias("b", named("a") + ".")))
    assert texts(ask(cluster, named("a")).answer) == ["A 10.96.1.1", f"CNAME {named('web')}."]
    assert texts(ask(cluster, named("b")).answer) == ["A 10.96.1.1", f"CNAME {named('a')}.", f"CNAME {named('web')}."]
    assert [group.rdtype for group in ask(cluster, named("b")).answer] == [5, 5, 1]  # WIR-52
    assert outcome(ask(cluster, named("a"), "CNAME")) == [f"CNAME {named('web')}."]
    assert outcome(ask(cluster, named("a"), "AAAA")) == "NODATA"


@pytest.mark.parametrize("qtype", ["SRV", "TXT", "MX"])
def test_rec_60_other_types_of_an_alias_are_nodata(qtype):
    assert outcome(ask(plugin(catalog_of(alias("a", "example.com"))), named("a"), qtype)) == "NODATA"


def test_rec_61_an_alias_that_leads_nowhere_is_not_told():
    cluster = plugin(catalog_of(alias("a", named("nosuch")), alias("x", named("y")), alias("y", named("x"))))
    assert outcome(ask(cluster, named("a"))) == "NODATA"
    assert outcome(ask(cluster, named("x"))) == "NODATA"


def test_rec_61_a_long_chain_ends():
    links = [alias(f"n{number}", named(f"n{number + 1}")) for number in range(12)]
    assert outcome(ask(plugin(catalog_of(*links, service("n12", "10.96.1.1"))), named("n0"))) == "NODATA"
    assert "A 10.96.1.1" in outcome(ask(plugin(catalog_of(*links, service("n12", "10.96.1.1"))), named("n4")))


@pytest.mark.parametrize("target", [named("self"), f"below.{named('self')}"])
def test_rec_62_an_alias_of_itself_is_nothing(target):
    assert outcome(ask(plugin(catalog_of(alias("self", target))), named("self"))) == "NODATA"


def test_rec_40_an_alias_of_an_address_does_not_exist():
    assert outcome(ask(plugin(catalog_of(alias("ip", "192.0.2.1"))), named("ip"))) == "NXDOMAIN"


def test_rec_63_an_alias_elsewhere_is_asked_of_the_whole_server():
    everything = answering(Reply(answer=(Record(wire("example.com"), 1, 60, b"\xc0\x00\x02\x01"),), flags=TC))
    found = ask(plugin(catalog_of(alias("a", "example.com")), everything), named("a"))
    assert texts(found.answer) == ["A 192.0.2.1", "CNAME example.com."]
    assert everything.asked == [wire("example.com")]
    assert found.flags & TC


@pytest.mark.parametrize("rcode", [NXDOMAIN, SERVFAIL])
def test_rec_64_failures_outside_leave_the_alias(rcode):
    found = ask(plugin(catalog_of(alias("a", "example.com")), answering(failure(rcode))), named("a"))
    assert outcome(found) == ["CNAME example.com."]


def test_rec_64_no_message_from_outside_is_nodata():
    assert outcome(ask(plugin(catalog_of(alias("a", "example.com"))), named("a"))) == "NODATA"


def test_rec_61_aliases_of_two_zones_that_name_each_other_end():
    """They were followed until the stack ended: 20 ms per query in which nobody was answered."""

    async def everything(query):
        everything.asked += 1
        return await cluster.answer(query)

    everything.asked = 0
    objects = (alias("a", "b.shop.svc.foo.local"), alias("b", named("a")))
    cluster = plugin(catalog_of(*objects), everything, zones=("cluster.local.", "foo.local."))
    assert outcome(ask(cluster, named("a"))) == ["CNAME b.shop.svc.foo.local."]
    assert everything.asked == 1


def test_rec_61_an_alias_that_the_server_renames_to_itself_ends():
    async def everything(query):
        return await cluster.answer(query.asking(wire(named("a"))))

    cluster = plugin(catalog_of(alias("a", "a.shop.corp.example")), everything)
    assert outcome(ask(cluster, named("a"))) == ["CNAME a.shop.corp.example."]


def test_rec_100_only_names_that_do_not_exist_fall_through():
    onward = answering(Reply(answer=(Record(wire("x"), 1, 60, b"\xc0\x00\x02\x01"),)))
    cluster = plugin(catalog_of(*WEB), following=onward, fallthrough=())
    assert outcome(ask(cluster, named("nosuch"))) == ["A 192.0.2.1"]
    assert outcome(ask(cluster, named("web"), "AAAA")) == "NODATA"
    assert len(onward.asked) == 1


def test_ptr_08_fallthrough_of_reverse_zones_only():
    onward = answering(Reply(answer=(Record(wire("x"), 12, 60, wire("host.example")),)))
    cluster = plugin(catalog_of(*WEB), following=onward, fallthrough=("in-addr.arpa.", "ip6.arpa."))
    assert outcome(ask(cluster, "1.2.0.192.in-addr.arpa", "PTR")) == ["PTR host.example."]
    assert outcome(ask(cluster, named("nosuch"))) == "NXDOMAIN"


def test_rec_101_fallthrough_to_nobody_is_a_failure():
    assert outcome(ask(plugin(catalog_of(*WEB), fallthrough=()), named("nosuch"))) == "SERVFAIL"


def test_rec_110_before_the_cluster_is_known_nothing_is_denied():
    early = catalog_of(*WEB, synced=False)
    found = ask(plugin(early), named("nosuch"))
    assert outcome(found) == "SERVFAIL"
    assert found.authority
    assert outcome(ask(plugin(early), named("web"))) == ["A 10.96.1.1"]
    assert outcome(ask(plugin(early), named("web"), "AAAA")) == "NODATA"
    onward = answering(failure(NXDOMAIN))
    assert outcome(ask(plugin(early, following=onward, fallthrough=()), named("nosuch"))) == "NXDOMAIN"


def test_names_elsewhere_go_on():
    onward = answering(failure(NXDOMAIN))
    assert outcome(ask(plugin(catalog_of(), following=onward), "example.com")) == "NXDOMAIN"
    assert outcome(ask(plugin(catalog_of()), "example.com")) == "SERVFAIL"


def test_the_short_cut_is_offered_where_nobody_follows():
    assert [(cut.zone, cut.ttl, cut.minimum) for cut in plugin(catalog_of(), ttl=600).plain(".")] == [(wire("cluster.local"), 300, 600)]
    assert plugin(catalog_of(), fallthrough=()).plain(".") == ()
    assert plugin(catalog_of(), fallthrough=("in-addr.arpa.",)).plain(".", ttl=7)[0].ttl == 7


def test_rec_100_no_short_cut_where_a_part_of_the_zone_falls_through():
    assert plugin(catalog_of(), fallthrough=("corp.cluster.local.",)).plain(".") == ()
    zones = ("cluster.local.", "x.cluster.local.", "y.local.")
    found = plugin(catalog_of(), zones=zones, fallthrough=("x.cluster.local.",)).plain(".")
    assert [one.zone for one in found] == [wire("y.local")]
