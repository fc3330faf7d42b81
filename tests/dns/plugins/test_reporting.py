"""errors and log: what is written, and when (OBS-42 to OBS-44)."""

import asyncio

import pytest
from fakes.chains import A, Clock, around, edns, linked, query, record, soa, until
from fakes.corefiles import options
from pointsman.dns.contract import Plain
from pointsman.dns.corefile.options import ErrorsOptions, LogOptions
from pointsman.dns.names import wire
from pointsman.dns.plugins.reporting import Errors, Log, duration, type_name
from pointsman.dns.question import AA, RD
from pointsman.dns.reply import Life, Reply

FAILED = Reply(rcode=2, flags=0, error="read udp ->192.0.2.1:53: i/o timeout")
GOOD = Reply(answer=(record("a.example", A, 5, b"\1\2\3\4"),), life=Life())
PLAIN = Plain(wire("cluster.local"), 5, 5, ".")


async def test_obs_44_one_line_per_failure():
    surroundings = around()
    respond, behind = linked(Errors(options(ErrorsOptions, "errors"), surroundings), FAILED)
    assert await respond(query("A.example")) is FAILED
    assert surroundings.tell.lines == [("error", "plugin/errors: 2 a.example. A: read udp ->192.0.2.1:53: i/o timeout")]
    behind.reply = GOOD
    await respond(query("a.example"))
    assert len(surroundings.tell.lines) == 1


async def test_obs_44_consolidated_failures_are_told_once_per_period():
    surroundings = around()
    plugin = Errors(options(ErrorsOptions, "errors {", 'consolidate 10ms "i/o timeout$" warning', "}"), surroundings)
    respond, _ = linked(plugin, FAILED)
    for _ in range(3):
        await respond(query("a.example"))
    assert not surroundings.tell.lines
    await until(lambda: surroundings.tell.lines)
    assert surroundings.tell.lines == [("warning", "plugin/errors: 3 errors like 'i/o timeout$' occurred in last 10ms")]


async def test_obs_44_the_first_may_be_shown_and_what_is_left_is_told_at_the_end():
    surroundings = around()
    plugin = Errors(options(ErrorsOptions, "errors {", 'consolidate 1h "timeout" error show_first', "}"), surroundings)
    respond, _ = linked(plugin, FAILED)
    await respond(query("a.example"))
    assert len(surroundings.tell.lines) == 1
    plugin.stop()
    assert len(surroundings.tell.lines) == 1
    for _ in range(2):
        await respond(query("a.example"))
    plugin.stop()
    assert "2 errors like 'timeout' occurred in last 1h0m0s" in surroundings.tell.text()
    await asyncio.sleep(0)


async def test_obs_42_the_common_format():
    clock = Clock(10.5)
    surroundings = around(clock=clock)
    respond, _ = linked(Log((options(LogOptions, "log"),), surroundings), GOOD)
    await respond(query("A.Example", client=("192.0.2.7", 4711), started=10.0, size=27, flags=RD))
    assert surroundings.tell.lines == [
        ("info", '192.0.2.7:4711 - 1 "A IN a.example. udp 27 false 512" NOERROR qr,aa,rd 52 0.500000000s')
    ]  # fmt: skip


async def test_obs_42_the_combined_format_over_tcp_with_edns():
    surroundings = around(clock=Clock(1.0))
    respond, _ = linked(Log((options(LogOptions, 'log . "{combined}"'),), surroundings), GOOD.but(flags=AA))
    await respond(query("a.example", client=("2001:db8::1", 1), udp=False, started=1.0, edns=edns(4096, do=True)))
    ((_, line),) = surroundings.tell.lines
    assert line.startswith('[2001:db8::1]:1 - 1 "A IN a.example. tcp 0 true 65535" NOERROR')
    assert line.endswith('s "0"')


@pytest.mark.parametrize(
    ("classes", "logged"),
    [("success", [True, False, False]), ("denial", [False, True, False]), ("error", [False, False, True]), ("all", [True] * 3)],
)
async def test_obs_43_classes(classes, logged):
    """What is not logged keeps its life: the hot table may go on answering."""
    made = []
    for reply in (GOOD, Reply(authority=(soa(),), life=Life()), Reply(rcode=5, life=Life())):
        surroundings = around()
        respond, _ = linked(Log((options(LogOptions, "log {", f"class {classes}", "}"),), surroundings), reply)
        answered = await respond(query("a.example"))
        made.append(bool(surroundings.tell.lines))
        assert (answered.life is None) == made[-1]
    assert made == logged


async def test_the_first_directive_that_fits_writes():
    surroundings = around()
    rules = (options(LogOptions, 'log a.example "one {name}"'), options(LogOptions, 'log "two {name}"'))
    respond, _ = linked(Log(rules, surroundings), GOOD)
    await respond(query("x.a.example"))
    await respond(query("x.b.example"))
    assert [text for _, text in surroundings.tell.lines] == ["one x.a.example.", "two x.b.example."]


def test_the_short_cut_is_borne_unless_denials_are_told():
    assert Log((options(LogOptions, "log {", "class error", "}"),), around()).plain(PLAIN) is PLAIN
    assert Log((options(LogOptions, "log"),), around()).plain(PLAIN) is None
    assert Log((options(LogOptions, "log example.org"),), around()).plain(PLAIN) is PLAIN


@pytest.mark.parametrize(("seconds", "text"), [(30, "30s"), (90, "1m30s"), (3600, "1h0m0s"), (0.5, "500ms"), (300, "5m0s")])
def test_durations_are_written_as_go_does(seconds, text):
    assert duration(seconds) == text


def test_types_without_a_name_have_a_number():
    assert [type_name(1), type_name(65), type_name(65400)] == ["A", "HTTPS", "TYPE65400"]
