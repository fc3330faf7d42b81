"""A Corefile at work: blocks, order, listeners, short cuts and reloads (COR-13 to COR-16, WIR-08 to WIR-13)."""

import asyncio

import pytest
from fakes.chains import A, Clock, Upstream, address, answers, around, query, values
from fakes.corefiles import corefile
from pointsman.dns.feed import Change, Synced
from pointsman.dns.names import wire
from pointsman.dns.plugins.cache import Cache
from pointsman.dns.plugins.forward import Forward
from pointsman.dns.site import Site, alike, grouped
from pointsman.proxy.dns.text import METRICS

ZONES = """
. {
    template IN ANY . {
        answer "{{ .Name }} 5 IN TXT root"
    }
}
example.org {
    template IN ANY . {
        answer "{{ .Name }} 5 IN TXT org"
    }
}
sub.example.org {
    template IN ANY . {
        answer "{{ .Name }} 5 IN TXT sub"
    }
}
"""


async def said(text, name, qtype=16):
    reply = await answers(text, query(name, qtype))
    return reply.zone, b"".join(one.rdata[1:] for one in reply.answer).decode(), reply.rcode


@pytest.mark.parametrize(
    ("name", "qtype", "zone", "who"),
    [
        ("a.example", 16, ".", "root"),
        ("EXAMPLE.org", 16, "example.org.", "org"),
        ("x.y.example.org", 16, "example.org.", "org"),
        ("myexample.org", 16, ".", "root"),
        ("a.sub.example.org", 16, "sub.example.org.", "sub"),
        ("sub.example.org", 43, "example.org.", "org"),  # WIR-13: the parent knows
        ("example.org", 43, "example.org.", "org"),  # but not the root
        ("x.sub.example.org", 43, "sub.example.org.", "sub"),
        (".", 16, ".", "root"),
    ],
)
async def test_cor_13_wir_13_the_longest_zone_answers(name, qtype, zone, who):
    assert await said(ZONES, name, qtype) == (zone, who, 0)


async def test_wir_11_12_no_block_and_no_plugin_are_refused():
    assert (await said("example.org {\n whoami\n}", "a.example"))[::2] == ("", 5)
    assert (await said("example.org {\n reload\n}", "a.example.org"))[2] == 5
    assert (await said("example.org {\n errors\n log\n}", "a.example.org"))[::2] == ("example.org.", 2)


async def test_rec_101_nobody_left_to_ask_is_servfail():
    reply = await answers(".:53 {\n forward example.org 192.0.2.1\n}", query("a.example"))
    assert (reply.rcode, reply.error) == (2, "plugin/forward: no next plugin found")


async def test_wir_08_other_classes_need_forward_or_chaos():
    assert (await answers(".:53 {\n any\n}", query("a.example", 255, qclass=3))).rcode == 5
    assert (await answers(".:53 {\n any\n chaos\n}", query("a.example", 255, qclass=3))).rcode == 0


async def test_cor_15_rewrite_is_before_template_and_template_before_hosts():
    text = """.:53 {
        hosts /nothing {
            192.0.2.1 a.example b.example c.example
        }
        template IN A b.example {
            answer "{{ .Name }} 5 IN A 192.0.2.2"
        }
        rewrite name c.example b.example
    }"""
    for name, last in (("a.example", 1), ("b.example", 2), ("c.example", 2)):
        assert values(await answers(text, query(name)))[0][3][3] == last


def test_listeners_have_the_blocks_of_their_port_and_address():
    site = Site(corefile("a.org:53 b.org:54 {\n whoami\n}\nc.org {\n bind 127.0.0.1 eth7\n whoami\n}"), around())
    assert (site.chain("", 53).label, site.chain("", 54).label) == ("dns://:53", "dns://:54")
    assert site.chain("127.0.0.1", 53).label == "dns://127.0.0.1:53"
    assert site.chain("", 55) is None
    assert site.everywhere("dns://127.0.0.1:1053").label == "dns://127.0.0.1:1053"


async def test_cor_14_a_bound_block_answers_at_its_address_only():
    site = Site(corefile("a.org {\n bind 127.0.0.1 eth7\n whoami\n}\nb.org {\n bind ::1\n whoami\n}"), around())
    assert (await site.chain("127.0.0.1", 53).answer(query("x.a.org"))).rcode == 0
    assert (await site.chain("::1", 53).answer(query("x.a.org"))).rcode == 5
    assert (await site.chain("192.0.2.9", 53, ["eth7"]).answer(query("x.a.org"))).rcode == 0
    assert (await site.everywhere("x").answer(query("x.b.org"))).rcode == 0
    assert site.chain("::1", 53).label == "dns://[::1]:53"


CLUSTER = ".:53 {{\n kubernetes cluster.local {{\n  ttl 30\n {inside}\n }}\n {more}\n}}\n{other}"


@pytest.mark.parametrize(
    ("inside", "more", "other", "ttl"),
    [
        ("", "errors\n loadbalance\n loop\n reload\n forward . 192.0.2.1", "", 30),
        ("", "cache 10", "", 10),
        ("", "bufsize\n minimal\n nsid\n chaos\n dns64", "", 30),
        ("fallthrough", "", "", None),
        ("fallthrough in-addr.arpa", "", "", 30),
        ("", "log", "", None),
        ("", "log {\n class error\n}", "", 30),
        ("", "any", "", None),
        ("", "local", "", None),
        ("", "acl {\n allow\n}", "", None),
        ("", "header {\n response set ra\n}", "", None),
        ("", "hosts", "", None),
        ("", "hosts {\n fallthrough\n}", "", 30),
        ("", "rewrite name regex a b", "", None),
        ("", "template IN A .", "", None),
        ("", "", "x.cluster.local {\n whoami\n}", None),
        ("", "", "cluster.local {\n whoami\n}", None),
        ("", "", "local {\n whoami\n}", None),
        ("", "", "other.example {\n whoami\n}", 30),
    ],
)
async def test_src_04_the_short_cut_for_unknown_cluster_names(inside, more, other, ttl):
    """There where every plugin in front bears it, and nobody else has the zone or names below it."""
    plain = Site(corefile(CLUSTER.format(inside=inside, more=more, other=other)), around()).chain("", 53).plain
    assert [one.ttl for one in plain] == ([] if ttl is None else [ttl])
    assert all((one.zone, one.block) == (wire("cluster.local"), ".") for one in plain)


async def test_the_short_cut_says_what_the_chain_says():
    """An unknown name of a known cluster: the chain's SOA has the TTL of the short cut."""
    surroundings = around()
    surroundings.catalog.apply(Change(begin=True, namespaces=("shop",), serial=7))
    surroundings.catalog.finish(Synced())
    chain = Site(corefile(CLUSTER.format(inside="", more="cache 10\n errors", other="")), surroundings).chain("", 53)
    reply = await chain.answer(query("nothing.shop.svc.cluster.local"))
    assert (reply.rcode, reply.authority[0].ttl) == (3, chain.plain[0].ttl)
    assert reply.life is not None


async def test_obs_53_a_reload_keeps_what_stayed_the_same():
    async with Upstream(address()) as server:
        text = f".:53 {{\n cache 60\n forward . 127.0.0.1:{server.port}\n}}\n"
        surroundings = around(clock=Clock())
        site = Site(corefile(text), surroundings)
        site.start()
        await site.chain("", 53).answer(query("a.example"))
        changed = Site(corefile("# moved\n\n" + text.replace("cache 60", "cache 30")), surroundings, site)
        changed.start()
        site.stop(keeping=changed)
        forwards = [
            [plugin for built in one.built for _, plugin in built.plugins if isinstance(plugin, Forward)] for one in (site, changed)
        ]
        assert forwards[0][0] is forwards[1][0]
        assert (await changed.chain("", 53).answer(query("a.example"))).plugin == "cache"
        caches = [plugin for _, plugin in changed.built[0].plugins if isinstance(plugin, Cache)]
        assert caches[0].options.success.longest == 30
        assert len(server.asked) == 1
        changed.stop()


def test_settings_are_alike_wherever_they_stand():
    one, other = (corefile(text).blocks[0].options for text in (".:53 {\n cache 30\n}", "\n\n.:53 {\n\n cache 30\n}"))
    assert one != other
    assert alike(one, other)
    assert len(grouped(one)) == 1


async def test_fwd_40_a_storm_of_one_name_is_one_question():
    """A thousand clients at the moment in which a popular name has gone from the cache."""
    async with Upstream(address()) as server:
        site = Site(corefile(f".:53 {{\n cache\n forward . 127.0.0.1:{server.port}\n}}"), around())
        chain = site.chain("", 53)
        replies = await asyncio.gather(*(chain.answer(query("popular.example", A)) for _ in range(1000)))
        assert len(server.asked) == 1
        assert all(reply.answer for reply in replies)
        site.stop()


async def test_obs_10_to_22_every_number_has_the_labels_that_its_text_names():
    """What plugins count is known to the list of metrics, with as many label values as names."""
    text = """.:53 {
        cache {
            prefetch 1
        }
        hosts /nothing
        acl a.example {
            allow type A
            block
        }
        acl b.example {
            filter
        }
        acl c.example {
            drop
        }
        template IN A d.example {
            answer "nonsense"
        }
        dns64 {
            allow_ipv4
        }
        local
        loop
        autopath /nothing
        forward . 192.0.2.1 {
            max_concurrent 1
        }
    }"""
    surroundings = around()
    chain = Site(corefile(text), surroundings).chain("", 53)
    for name, qtype in (("a.example", A), ("a.example", 16), ("b.example", A), ("c.example", A), ("d.example", A), ("localhost.x", A)):
        await chain.answer(query(name, qtype))
    samples = list(surroundings.tally.dump())
    assert len(samples) > 15
    assert {one.metric for one in samples} <= set(METRICS)
    assert [(one.metric, one.labels) for one in samples if len(one.labels) != len(METRICS[one.metric].labels)] == []
