"""DNS of a process: sockets, resolvers, what is served beside them, and what becomes of them at the end."""

import asyncio
import errno
import os
import signal
import socket
from contextlib import asynccontextmanager, suppress

import pytest
from fakes import dns as fake
from fakes.scratch import namespace
from msgspec import structs
from pointsman.dns.feed import OTHER, Answer
from pointsman.dns.needs import needs
from pointsman.proxy.dns import sockets
from pointsman.proxy.dns.selfcheck import DURATION
from pointsman.proxy.dns.service import DnsError, DnsService, Settings
from pointsman.proxy.dns.setup import Setup
from pointsman.proxy.dns.sockets import ListenError, Place, Sockets
from pointsman.proxy.dns.telling import Telling

PATIENCE = 60.0


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - another process acts
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(tmp_path, text=".:53 {\n  whoami\n}\n", **options):
    (tmp_path / "Corefile").write_text(text)
    place = Place("127.0.0.1", fake.free_port(), 0)
    service = DnsService(Settings(corefile=str(tmp_path / "Corefile"), listen=place, **options), Telling())
    await service.prepare()
    running = asyncio.create_task(service.run())
    try:
        await until(lambda: service.serving or running.done())
        yield service, place
    finally:
        running.cancel()
        await asyncio.wait({running})
        await service.close()


async def asked_of(place, name="example.test"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        return await fake.ask(client, (place.address, place.port), name, seconds=PATIENCE)


async def test_a_corefile_is_served_with_its_counters(tmp_path):
    async with serving(tmp_path, workers=2) as (service, place):
        assert (await asked_of(place)).additional
        names = [sample.metric for sample in await service.samples()]
        assert {"coredns_build_info", "coredns_dns_requests_total", "process_resident_memory_bytes"} <= set(names)
        assert names.count("pointsman_dns_serving") == 2
        assert not service.cluster


async def test_what_is_wrong_with_a_corefile_is_told_with_its_line(tmp_path):
    with pytest.raises(DnsError, match=r"Corefile:2 - Error during parsing"):
        async with serving(tmp_path, ".:53 {\n  nonsense\n}\n"):
            pass


async def test_a_place_that_is_taken_is_told(tmp_path):
    async with serving(tmp_path) as (_, place):
        service = DnsService(Settings(corefile=str(tmp_path / "Corefile"), listen=place), Telling())
        with pytest.raises(ListenError, match=str(place.port)):
            await service.prepare()


async def test_obs_50_health_and_readiness_follow_the_corefile(tmp_path):
    port = fake.free_port()
    async with serving(tmp_path, f".:53 {{\n  whoami\n  health 127.0.0.1:{port}\n  ready 127.0.0.1:{port}\n}}\n") as (service, _):
        for path in ("health", "ready"):
            async with asyncio.timeout(PATIENCE):
                while (said := await http(port, path)) is None:  # noqa: ASYNC110 - tried again until it listens
                    await asyncio.sleep(0.05)
            assert said.endswith("OK")
        async with asyncio.timeout(PATIENCE):
            while not any(one.metric == DURATION for one in await service.samples()):  # noqa: ASYNC110 - OBS-19: it asks itself
                await asyncio.sleep(0.1)
        service.leaving = True
        assert (await http(port, "ready")).endswith("Shutting down")
        assert (await http(port, "health")).endswith("OK")


async def http(port, path):
    """Return the answer to a request, None if nobody listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    writer.write(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
    said = (await reader.read()).decode()
    writer.close()
    return said


async def test_a_new_place_is_listened_at_by_a_new_resolver(tmp_path):
    async with serving(tmp_path) as (service, _):
        (supervisor,) = service.supervisors
        before = supervisor.resolver
        after = Place("127.0.0.1", fake.free_port(), 0)
        object.__setattr__(service, "settings", Settings(corefile=service.settings.corefile, listen=after))
        await service.listen_at(())
        await until(lambda: supervisor.resolver is not before)
        assert (await asked_of(after)).additional


def given(former):
    """Return what an earlier process gives."""
    return [structs.replace(each, fd=os.dup(each.fd)) for worker in range(former.workers) for each in former.of(worker)]


async def test_obs_54_places_that_are_taken_over_late_get_a_socket_for_each_worker(tmp_path):
    """Such as the cluster's DNS address, where the API server answers when others are served already."""
    late, former = Place("127.0.0.1", fake.free_port(), 0), Sockets()
    async with serving(tmp_path, workers=2, patient=True) as (service, _):
        former.want([late])
        service._sockets.adopt(given(former))
        former.close()
        object.__setattr__(service, "settings", structs.replace(service.settings, listen=late))
        before = [each.resolver for each in service.supervisors]
        await service.listen_at(())
        assert [{(each.transport, each.port) for each in service._sockets.of(worker)} for worker in range(2)] == [
            {("udp", late.port), ("tcp", late.port)}
        ] * 2
        await until(lambda: all(each.resolver is not other for each, other in zip(service.supervisors, before, strict=True)))
        assert (await asked_of(late)).additional


@pytest.mark.parametrize("patient", [True, False])
async def test_who_is_patient_serves_on_where_a_worker_has_no_socket(tmp_path, monkeypatch, caplog, patient):
    (tmp_path / "Corefile").write_text(".:53 {\n  whoami\n}\n")
    place, former = Place("127.0.0.1", fake.free_port(), 0), Sockets()
    service = DnsService(Settings(corefile=str(tmp_path / "Corefile"), listen=place, workers=2, patient=patient), Telling())
    former.want([place])
    service._sockets.adopt(given(former))
    former.close()
    await service.prepare()

    def refused(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(sockets, "_bound", refused)
    running = asyncio.create_task(service.run())
    try:
        await until(lambda: service.serving or running.done())
        if patient:
            assert not running.done()
            assert (await asked_of(place)).additional
            assert f"cannot listen at {place}: Too many open files" in caplog.text
        else:
            with pytest.raises(ListenError, match="Too many open files"):
                await running
    finally:
        running.cancel()
        await asyncio.wait({running})
        await service.close()


async def test_obs_50_a_corefile_that_needs_more_than_is_read_is_not_taken_over(tmp_path, caplog):
    plain = ".:53 {\n  whoami\n}\n"
    async with serving(tmp_path, plain, reads={}) as (service, place):
        before = service.corefile
        (tmp_path / "Corefile").write_text(plain.replace("whoami", "kubernetes cluster.local"))
        service.reload()
        await until(lambda: "Corefile:2: `kubernetes` needs more of the cluster" in caplog.text)
        assert service.corefile is before
        assert (await asked_of(place)).additional


async def test_obs_50_what_a_new_corefile_needs_is_read_first_and_then_it_is_taken_over(tmp_path):
    plain, more, nothing = (f".:53 {{\n  {line}\n}}\n" for line in ("whoami", "whoami\n  kubernetes cluster.local", "errors"))
    asked, there = [], asyncio.Event()

    async def read(corefile):
        asked.append(corefile)
        await there.wait()

    setup = Setup()
    async with serving(tmp_path, plain, reads={}, read=read, setup=setup) as (service, place):
        (supervisor,) = service.supervisors
        before, resolver = service.corefile, supervisor.resolver
        (tmp_path / "Corefile").write_text(more)
        service.reload()
        await until(lambda: asked)
        assert service.corefile is before
        assert (await asked_of(place)).additional
        there.set()
        await until(lambda: supervisor.resolver is not resolver)
        assert service.cluster
        assert service.settings.reads["kubernetes"] == ""
        assert (await asked_of(place)).additional
        (tmp_path / "Corefile").write_text(nothing + "nonsense {\n")
        service.reload()
        await until(lambda: any(one.labels == ("configmap",) and one.values == (1.0,) for one in setup.samples()))


async def test_obs_50_what_resolvers_refuse_is_refused_for_what_is_served_beside_too(tmp_path):
    """Only who sets plugins up finds what is wrong there; an empty file is one that is just being written."""
    health = f"health 127.0.0.1:{fake.free_port()}"
    setup = Setup()

    def refused():
        return sum(one.values[0] for one in setup.samples() if one.labels == ("configmap",))

    async with serving(tmp_path, f".:53 {{\n  whoami\n  {health}\n}}\n", setup=setup) as (service, place):
        before = service.corefile
        for count, content in enumerate((".:53 {\n  forward . tls://127.0.0.1 {\n    tls /nonexistent/ca.pem\n  }\n}\n", ""), 1):
            (tmp_path / "Corefile").write_text(content)
            service.reload()
            await until(lambda count=count: refused() == count)
            assert service.corefile is before
            assert (await asked_of(place)).additional
        (tmp_path / "Corefile").write_text(f".:53 {{\n  whoami\n  errors\n  {health}\n}}\n")
        service.reload()
        await until(lambda: service.corefile is not before)


async def test_obs_50_a_resolver_that_dies_while_the_corefile_is_empty_is_followed_by_one_with_what_it_says_next(tmp_path):
    """One that began with the empty file, as CoreDNS does, would answer without data for every name, and look at it no more."""

    def content(number):
        return f".:53 {{\n  hosts /dev/null {{\n    10.0.0.{number} a.test\n  }}\n}}\n"

    async with serving(tmp_path, content(1)) as (service, place):
        (supervisor,) = service.supervisors
        assert fake.values(await asked_of(place, "a.test")) == ["10.0.0.1"]
        (tmp_path / "Corefile").write_text("")
        supervisor.resolver.process.send_signal(signal.SIGKILL)
        await until(lambda: "there is no server block" in supervisor.failure)
        assert not service.serving
        (tmp_path / "Corefile").write_text(content(2))
        await until(lambda: service.serving)
        assert fake.values(await asked_of(place, "a.test")) == ["10.0.0.2"]


async def test_obs_50_watching_comes_back_with_a_corefile_that_says_reload(tmp_path):
    """By the resolver itself: without `reload` it only looks when it is asked to."""

    def content(number, reload):
        return f".:53 {{\n  hosts /dev/null {{\n    10.0.0.{number} a.test\n  }}\n{reload}}}\n"

    async def gets(number):
        async with asyncio.timeout(PATIENCE):
            while fake.values(await asked_of(place, "a.test")) != [f"10.0.0.{number}"]:  # noqa: ASYNC110 - another process acts
                await asyncio.sleep(0.05)

    async with serving(tmp_path, content(1, "  reload 2s 1s\n")) as (service, place):
        (tmp_path / "Corefile").write_text(content(2, ""))
        service.reload()
        await gets(2)
        (tmp_path / "Corefile").write_text(content(3, "  reload 2s 1s\n"))
        service.reload()
        await gets(3)
        (tmp_path / "Corefile").write_text(content(4, "  reload 2s 1s\n"))
        await gets(4)


@asynccontextmanager
async def comparing(tmp_path, text, **options):
    """Run what looks at the Corefile, without any resolver."""
    (tmp_path / "Corefile").write_text(text)
    place = Place("127.0.0.1", fake.free_port(), 0)
    service = DnsService(Settings(corefile=str(tmp_path / "Corefile"), listen=place, **options), Telling())
    await service.prepare()
    service.settings = structs.replace(service.settings, reads=needs(service.corefile))
    running = asyncio.create_task(service._compare())

    async def say(text):
        (tmp_path / "Corefile").write_text(text)
        service.reload()

    try:
        yield service, say
    finally:
        running.cancel()
        await asyncio.wait({running})
        await service.close()


VERIFIED, CHOSEN = (f".:53 {{\n  kubernetes cluster.local {{\n    {line}\n  }}\n}}\n" for line in ("pods verified", "labels a=b"))


async def test_obs_50_where_another_corefile_was_read_for_in_vain_it_is_read_again_for_the_one_at_work(tmp_path, monkeypatch, caplog):
    """Its next resolver would find that too little is read, and there would be no DNS."""
    asked = []

    async def read(corefile):
        asked.append(corefile.fingerprint)

    async def taken(_):
        raise ListenError("the place is taken")

    async with comparing(tmp_path, VERIFIED, read=read) as (service, say):
        at_work, had = service.corefile, service.settings.reads
        monkeypatch.setattr(service, "_rearrange", taken)
        await say(CHOSEN)
        await until(lambda: "the place is taken" in caplog.text)
        assert (service.corefile, service.settings.reads["labels"]) == (at_work, "a=b")
        await say(VERIFIED)
        await until(lambda: service.settings.reads == had)
        assert asked[1:] == [at_work.fingerprint]


async def test_obs_50_what_was_read_in_the_moment_it_was_given_up_is_known_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.proxy.dns.service.AGAIN", 0.05)
    asked = []

    async def read(corefile):
        asked.append(corefile)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with comparing(tmp_path, VERIFIED, read=read) as (service, say):
        await say(CHOSEN)
        await until(lambda: asked)
        (tmp_path / "Corefile").write_text(VERIFIED)
        await until(lambda: service.settings.reads["labels"] == "a=b")


async def test_obs_50_a_verdict_over_what_the_corefile_said_before_or_after_is_none(tmp_path, monkeypatch):
    """A file that is written in two steps would be refused for what it said between them, and not be looked at again."""
    reload = "  reload 2s 1s\n}\n"
    asked, verdicts = [], [Answer(1, rows=((OTHER, ""),))]

    async def ask(what, name):
        asked.append((what, name))
        return verdicts.pop() if verdicts else None

    async with comparing(tmp_path, ".:53 {\n  whoami\n" + reload) as (service, say):
        monkeypatch.setattr(service, "ask", ask)
        before = service.corefile
        await say(".:53 {\n  errors\n" + reload)
        await until(lambda: service.corefile is not before)
        assert asked == [("try", service.corefile.fingerprint)] * 2


async def test_obs_50_who_waits_for_more_gives_it_up_for_another_corefile(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.proxy.dns.service.AGAIN", 0.05)
    given_up = asyncio.Event()

    async def read(corefile):
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async with serving(tmp_path, reads={}, read=read) as (service, place):
        (tmp_path / "Corefile").write_text(".:53 {\n  kubernetes cluster.local\n}\n")
        service.reload()
        await until(lambda: service._rearranged.is_set() is False)
        (tmp_path / "Corefile").write_text(".:53 {\n  whoami\n  errors\n}\n")
        async with asyncio.timeout(PATIENCE):
            await given_up.wait()
        service.reload()
        await until(lambda: any(block.options[0].directive == "errors" for block in service.corefile.blocks))
        assert (await asked_of(place)).additional


@pytest.mark.kernel
@pytest.mark.parametrize(("former", "latter"), [(1, 1), (2, 2), (1, 2), (2, 1)])
async def test_obs_54_resolvers_that_linger_serve_on_until_successors_take_their_sockets(tmp_path, former, latter):
    """Every one of them is told to go: whoever stays would answer what is not true any more, with a share of the queries."""
    with namespace():  # who takes sockets over looks for them in its network namespace
        await left_and_taken(tmp_path, former, latter)


async def left_and_taken(tmp_path, former, latter):
    (tmp_path / "Corefile").write_text(".:53 {\n  whoami\n}\n")
    gone = Place("127.0.0.1", fake.free_port(), 0)
    settings = Settings(
        corefile=str(tmp_path / "Corefile"), listen=gone, linger=PATIENCE, inherit=True, workers=former,
    )  # fmt: skip
    before = DnsService(settings, Telling())
    await before.prepare()
    before.settings = settings = structs.replace(settings, listen=Place("127.0.0.1", fake.free_port(), 0))
    before._sockets.want((gone, settings.listen))
    running = asyncio.create_task(before.run())
    await until(lambda: before.serving)
    left = [each.resolver for each in before.supervisors]
    running.cancel()
    await asyncio.wait({running})
    await before.close(linger=True)
    assert (await asked_of(settings.listen)).additional
    after = DnsService(structs.replace(settings, workers=latter), Telling())
    await after.prepare()
    running = asyncio.create_task(after.run())
    try:
        for _ in range(20):  # from as many ports: some come to each socket
            assert (await asked_of(settings.listen)).additional
        async with asyncio.timeout(PATIENCE):
            for each in left:
                await each.process.wait()
        assert after.serving
        for _ in range(20):
            assert (await asked_of(settings.listen)).additional
        await until(lambda: not after._sockets._given)
        with_nobody = Sockets()
        with_nobody.want([gone])  # what only the former process listened at is free
        with_nobody.close()
    finally:
        running.cancel()
        await asyncio.wait({running})
        await after.close()
