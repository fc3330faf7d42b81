"""How DNS ends: lameduck where somebody needs it, signals as CoreDNS takes them."""

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager

import pytest
from fakes import dns as fake
from pointsman.proxy.config import Config
from pointsman.proxy.dns import alone, node, surroundings
from pointsman.proxy.dns.sockets import Place
from pointsman.proxy.dns.wishes import Wishes

PATIENCE = 60.0
LAMEDUCK = ".:53 {{\n  whoami\n  health 127.0.0.1:{port} {{\n    lameduck 1h\n  }}\n  ready 127.0.0.1:{port}\n}}\n"


async def says(port, path):
    """Return the status of an HTTP answer; 0 if nobody listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    writer.write(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
    status = (await reader.readline()).split()[1:2]
    await reader.read()
    writer.close()
    return int(status[0]) if status else 0


async def until(wanted, port, path):
    async with asyncio.timeout(PATIENCE):
        while await says(port, path) != wanted:  # noqa: ASYNC110 - a server begins, or changes its mind
            await asyncio.sleep(0.02)


async def answered(place):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        return await fake.ask(client, (place.address, place.port), "example.test", seconds=PATIENCE)


@asynccontextmanager
async def serving(tmp_path):
    port, place = fake.free_port(), Place("127.0.0.1", fake.free_port(), 0)
    (tmp_path / "Corefile").write_text(LAMEDUCK.format(port=port))
    task = asyncio.create_task(alone.serve(alone.Options(corefile=str(tmp_path / "Corefile"), listen=place)))
    try:
        await until(200, port, "ready")
        yield task, port, place
    finally:
        task.cancel()
        await asyncio.wait({task})


async def ended(task):
    async with asyncio.timeout(PATIENCE):
        return await task


async def test_obs_30_lameduck_answers_on_but_is_not_ready_and_a_second_signal_ends_it(tmp_path):
    async with serving(tmp_path) as (task, port, place):
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(503, port, "ready")
        assert await says(port, "health") == 200
        assert await answered(place) is not None
        assert not task.done()
        os.kill(os.getpid(), signal.SIGINT)
        assert await ended(task) == 0


async def test_obs_51_sigquit_waits_for_no_lameduck(tmp_path):
    async with serving(tmp_path) as (task, _, _):
        os.kill(os.getpid(), signal.SIGQUIT)
        assert await ended(task) == 0


class Service:
    """A service that notes what becomes of it."""

    def __init__(self, settings, listens):
        self.settings, self.listens, self.serving, self.succeeds, self.done = settings, listens, True, False, []

    async def prepare(self):
        pass

    async def listen_at(self, addresses):
        pass

    async def run(self):
        await asyncio.Event().wait()

    async def farewell(self):
        self.done.append("farewell")

    async def close(self, *, linger=False):
        self.done.append("left" if linger else "closed")


class Host:
    def applied(self):
        return None

    async def advanced(self):
        await asyncio.Event().wait()


LED, STRAY = Place("169.254.20.10", 53, 53), Place("169.254.20.10", 5353, 5353)


@pytest.mark.parametrize(("listens", "linger", "wanted"), [
    ((LED,), 0.0, ["taken back", "closed"]),
    ((LED, STRAY), 0.0, ["farewell", "taken back", "closed"]),
    ((LED, STRAY), 60.0, ["left"]),
])  # fmt: skip
async def test_obs_30_an_agent_waits_only_for_those_whom_no_rule_leads_elsewhere(tmp_path, monkeypatch, listens, linger, wanted):
    (tmp_path / "Corefile").write_text(".:53 {\n  whoami\n}\n")
    config = Config(dns=True, dns_corefile=str(tmp_path / "Corefile"), dns_addresses=("169.254.20.10",), takeover=False,
                    socket=str(tmp_path / "agent.sock"))  # fmt: skip
    monkeypatch.setattr(node, "LINGER", linger)

    async def ensure(addresses):
        return ()

    monkeypatch.setattr(surroundings, "ensure", ensure)
    made = node.NodeDns(config, "n1", Wishes())
    service = made.service = Service(made.service.settings, listens)
    monkeypatch.setattr(surroundings, "take_back", lambda addresses: service.done.append("taken back"))
    made.join(Host(), None)
    made.telling.seen.set()
    made.telling.begun.set()
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(PATIENCE):
        while not (tmp_path / "dns.sock").exists() and not running.done():  # noqa: ASYNC110 - questions are answered last
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert service.done == wanted
