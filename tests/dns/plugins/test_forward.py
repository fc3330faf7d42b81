"""forward: matching, walking, merging, and upstreams that come and go (FWD-01 to FWD-41)."""

import asyncio

import dns.message
import dns.rcode
import pytest
from fakes.chains import A, Upstream, address, around, counted, edns, linked, query
from fakes.corefiles import NOWHERE
from pointsman.dns import names
from pointsman.dns.corefile.options import ForwardOptions
from pointsman.dns.corefile.options import Upstream as Target
from pointsman.dns.plugins.forward import CONCURRENT, MOST, Forward, context
from pointsman.dns.question import CD, RD
from pointsman.dns.reply import Reply

NOBODY = Target("127.0.0.1", 1)


def forward(*targets, surroundings=None, zone=".", **options):
    made = tuple(Target("127.0.0.1", one.port) if isinstance(one, Upstream) else one for one in targets)
    return Forward(ForwardOptions(place=NOWHERE, zone=zone, upstreams=made, **options), surroundings or around())


def failing(rcode):
    def say(message, _):
        reply = dns.message.make_response(message)
        reply.set_rcode(rcode)
        return reply

    return say


@pytest.mark.parametrize(
    ("zone", "exclude", "name", "matches"),
    [
        (".", (), "a.example", True),
        ("example.", (), "a.example", True),
        ("example.", (), "example", True),
        ("example.", (), "example.org", False),
        ("example.", ("b.example.",), "b.example", False),
        ("example.", ("b.example.",), "x.b.example", False),
        ("example.", ("example.",), "example", True),
        ("example.", ("example.",), "a.example", False),
    ],
)
def test_fwd_01_20_which_names_are_forwarded(zone, exclude, name, matches):
    assert forward(NOBODY, zone=zone, exclude=exclude).matches(names.wire(name)) == matches


async def test_what_is_not_forwarded_goes_on():
    respond, behind = linked(forward(NOBODY, zone="example."))
    await respond(query("a.org"))
    assert len(behind.asked) == 1


async def test_an_answer_comes_back():
    async with Upstream(address()) as server:
        plugin = forward(server)
        respond, _ = linked(plugin)
        reply = await respond(query("a.example"))
        assert (reply.answer[0].rdata, reply.plugin, reply.life) == (b"\xc0\0\2\1", "forward", None)
        plugin.stop()


async def test_an_answer_says_who_gave_it_and_counters_are_there_from_the_start():
    surroundings = around()
    async with Upstream(address()) as server:
        plugin = forward(server, surroundings=surroundings)
        told = {sample.metric: sample.values for sample in surroundings.tally.dump()}
        assert told["coredns_forward_max_concurrent_rejects_total"] == told["coredns_forward_healthcheck_broken_total"] == (0,)
        respond, _ = linked(plugin)
        assert (await respond(query("a.example"))).origin == f"127.0.0.1:{server.port}"
        plugin.stop()


async def test_fwd_31_an_error_goes_to_the_next_upstream():
    async with Upstream(address()) as server:
        plugin = forward(Target("127.0.0.1", 1), server, policy="sequential")
        reply = await plugin.ask(query("a.example", udp=False))  # nobody listens on TCP port 1
        assert reply.answer
        plugin.stop()


async def test_fwd_19_37_failed_attempts_are_bounded_and_told():
    plugin = forward(NOBODY, max_fails=0, max_attempts=3)
    reply = await plugin.ask(query("a.example", udp=False))
    assert reply.rcode == 2
    assert reply.error
    plugin.stop()


async def test_fwd_22_failover_tries_each_once():
    async with Upstream(failing(dns.rcode.SERVFAIL)) as bad, Upstream(address()) as good:
        plugin = forward(bad, good, policy="sequential", failover=(2,))
        assert (await plugin.ask(query("a.example"))).answer
        without = forward(bad, good, policy="sequential")
        assert (await without.ask(query("a.example"))).rcode == 2  # FWD-34
        only = forward(bad, failover=(2,))
        assert (await only.ask(query("a.example"))).rcode == 2
        for one in (plugin, without, only):
            one.stop()


async def test_fwd_22_the_last_reply_counts_where_all_have_been_asked():
    """None is asked twice, not even if another one fails; a reply is better than none."""
    async with Upstream(failing(dns.rcode.NXDOMAIN)) as one, Upstream(failing(dns.rcode.NXDOMAIN)) as other:
        both = forward(one, other, failover=(3,), max_attempts=1)
        assert (await both.ask(query("a.example"))).rcode == 3
        assert (len(one.asked), len(other.asked)) == (1, 1)
        for order in ((NOBODY, one), (one, NOBODY)):
            refused = forward(*order, policy="sequential", failover=(3,))
            assert (await refused.ask(query("a.example", udp=False))).rcode == 3
            refused.stop()
        sick = forward(NOBODY, one, policy="sequential", failover=(3,))
        sick.upstreams[0]._health.fails = 9
        assert (await sick.ask(query("a.example"))).rcode == 3
        assert (len(one.asked), len(other.asked)) == (4, 1)
        for plugin in (both, sick):
            plugin.stop()


@pytest.mark.parametrize(
    ("options", "rcode", "goes_on"),
    [({"next": (3,)}, 3, True), ({"next": (3,)}, 2, False), ({"next_on_nodata": True}, 0, True), ({}, 3, False)],
)
async def test_fwd_23_the_next_forward_line(options, rcode, goes_on):
    async with Upstream(failing(rcode)) as server, Upstream(address()) as second:
        plugin, line = forward(server, **options), forward(second)
        respond = plugin.link(linked(line)[0], None)
        assert bool((await respond(query("a.example"))).answer) == goes_on
        plugin.stop()
        line.stop()


@pytest.mark.parametrize(("first", "second"), [(".", ""), (".", "other.example."), ("a.example.", "b.a.example.")])
async def test_fwd_23_where_no_next_line_takes_the_name_the_own_reply_counts(first, second):
    async with Upstream(failing(dns.rcode.NXDOMAIN)) as server:
        plugin, line = forward(server, zone=first, next=(3,)), forward(NOBODY, zone=second or ".")
        behind, following = linked(line)
        respond = plugin.link(behind if second else following, None)
        assert (await respond(query("a.example"))).rcode == 3
        assert not following.asked
        plugin.stop()


async def test_fwd_23_a_line_that_does_not_take_the_name_is_passed_over():
    async with Upstream(failing(dns.rcode.NXDOMAIN)) as server, Upstream(address()) as third:
        lines = forward(server, next=(3,)), forward(NOBODY, zone="other.example."), forward(third)
        respond, _ = linked(lines[2])
        for line in reversed(lines[:2]):
            respond = line.link(respond, None)
        assert (await respond(query("a.example"))).answer
        for line in lines:
            line.stop()


@pytest.mark.parametrize("said", [2, 0])
async def test_fwd_13_too_many_at_once_are_refused(said):
    most = said or CONCURRENT
    release = asyncio.Event()

    class Slow(Forward):
        async def _walk(self, query):
            await release.wait()
            return Reply()

    surroundings = around()
    plugin = Slow(ForwardOptions(place=NOWHERE, zone=".", upstreams=(NOBODY,), max_concurrent=said), surroundings)
    waiting = [asyncio.create_task(plugin.ask(query(f"{n}.example"))) for n in range(most)]
    await asyncio.sleep(0)
    reply = await plugin.ask(query("c.example"))
    assert (reply.rcode, reply.error) == (5, f"concurrent queries exceeded maximum {most}")
    assert counted(surroundings, "coredns_forward_max_concurrent_rejects_total") == 1
    release.set()
    await asyncio.gather(*waiting)
    assert (await plugin.ask(query("d.example"))).rcode == 0


class Counting(Forward):
    """A forward that counts how often it really asks."""

    def __init__(self):
        super().__init__(ForwardOptions(place=NOWHERE, zone=".", upstreams=(NOBODY,)), around())
        self.walked = 0

    async def _walk(self, query):
        self.walked += 1
        await asyncio.sleep(0)
        return Reply()


async def test_fwd_40_equal_questions_are_asked_once():
    plugin = Counting()
    await asyncio.gather(*(plugin.ask(query(name)) for name in ("a.example", "A.example", "a.EXAMPLE") for _ in range(50)))
    assert plugin.walked == 1
    await plugin.ask(query("a.example"))
    assert plugin.walked == 2


async def test_fwd_40_questions_that_may_get_other_answers_are_not_merged():
    plugin = Counting()
    kinds = [
        {}, {"qtype": 28}, {"flags": RD | CD}, {"udp": False}, {"edns": edns(1232)}, {"edns": edns(4096)}, {"edns": edns(1232, do=True)},
        {"flags": 0}, {"edns": edns(1232, options=b"\0\x08\0\0")}, {"edns": edns(1232, options=b"\0\x08\0\0")},
    ]  # fmt: skip
    await asyncio.gather(*(plugin.ask(query("a.example", **kind)) for kind in kinds))
    assert plugin.walked == len(kinds)


async def test_a_client_that_goes_away_does_not_end_the_question_of_others():
    plugin = Counting()
    first = asyncio.create_task(plugin.ask(query("a.example")))
    await asyncio.sleep(0)
    second = asyncio.create_task(plugin.ask(query("a.example")))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).rcode == 0


async def test_fwd_32_24_when_all_are_down():
    async with Upstream(address()) as server:
        surroundings = around()
        plugin = forward(server, surroundings=surroundings)
        plugin.upstreams[0]._health.fails = 9
        assert (await plugin.ask(query("a.example"))).answer
        assert counted(surroundings, "coredns_forward_healthcheck_broken_total") == 1
        fast = forward(server, fail_fast=True)
        fast.upstreams[0]._health.fails = 9
        reply = await fast.ask(query("a.example"))
        assert (reply.rcode, reply.error) == (2, "no healthy proxies")
        plugin.stop()
        fast.stop()


def test_fwd_02_upstreams_come_from_a_resolv_conf_and_follow_it(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    plugin = forward(Target(file=str(path)))
    kept = plugin.upstreams[1]
    assert [one.label for one in plugin.upstreams] == ["192.0.2.1:53", "192.0.2.2:53"]
    path.write_text("nameserver 192.0.2.2\nnameserver 2001:db8::9\n")
    plugin.refresh()
    assert [one.label for one in plugin.upstreams] == ["192.0.2.2:53", "[2001:db8::9]:53"]
    assert plugin.upstreams[0] is kept
    path.unlink()
    plugin.refresh()
    assert len(plugin.upstreams) == 2


def test_fwd_01_a_resolv_conf_gives_no_more_than_fifteen(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 40)))
    assert len(forward(Target(file=str(path))).upstreams) == MOST


async def test_lop_03_this_server_is_never_its_own_upstream(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.53\n")
    surroundings = around(own=frozenset({("127.0.0.53", 53), ("10.96.0.10", 53)}))
    plugin = forward(Target(file=str(path)), Target("10.96.0.10"), surroundings=surroundings)
    assert not plugin.upstreams
    reply = await plugin.ask(query("a.example", A))
    assert (reply.rcode, reply.error) == (2, "there is no upstream that can be used")
    assert "names this server itself" in surroundings.tell.text()
    assert "is answered by this server itself" in surroundings.tell.text()


async def test_a_resolv_conf_that_is_missing_is_looked_at_again(tmp_path):
    surroundings = around()
    path = tmp_path / "resolv.conf"
    plugin = forward(Target(file=str(path)), surroundings=surroundings)
    assert (await plugin.ask(query("a.example"))).rcode == 2
    assert "cannot be read" in surroundings.tell.text()
    path.write_text("nameserver 192.0.2.1\n")
    plugin.refresh()
    assert len(plugin.upstreams) == 1
    plugin.start()
    plugin.stop()


def test_fwd_21_tls_trusts_the_system_or_what_is_named(tmp_path):
    options = ForwardOptions(place=NOWHERE, zone=".", upstreams=(Target("192.0.2.1", 853, "tls"),), tls=("",))
    assert context(options).check_hostname
    with pytest.raises(OSError, match="No such file"):
        context(ForwardOptions(place=NOWHERE, zone=".", upstreams=(), tls=(str(tmp_path / "ca"),)))


async def test_two_lines_are_tried_in_file_order():
    async with Upstream(address("192.0.2.1")) as first, Upstream(address("192.0.2.2")) as second:
        one, two = forward(first, zone="a.example."), forward(second)
        behind, _ = linked(two)
        respond = one.link(behind, None)
        assert (await respond(query("x.a.example"))).answer[0].rdata[3] == 1
        assert (await respond(query("x.b.example"))).answer[0].rdata[3] == 2
        one.stop()
        two.stop()
