"""Real clients in a pod with the resolv.conf that kubelet writes: dig, glibc, musl, dnspython."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import dns as fake
from pointsman.routing.route import Family

from .nodes import VIP, WEB, running

SEARCH = "shop.svc.cluster.local svc.cluster.local cluster.local"
EXTERNAL = "198.51.100.7"
SOURCE = Path(fake.__file__).with_name("getaddrinfo.c")
MUSL = f"{os.uname().machine}-linux-musl"
pytestmark = pytest.mark.kernel


def built(folder):
    """Return a program that asks musl's getaddrinfo."""
    program = folder / "getaddrinfo"
    libraries = f"/lib/{MUSL}"
    linked = [f"{libraries}/libc.so", f"-Wl,--dynamic-linker=/lib/ld-musl-{os.uname().machine}.so.1", f"-Wl,-rpath,{libraries}"]
    options = ["-O1", "-fno-stack-protector", "-nostdlib", "-nostartfiles"]
    subprocess.run(["gcc", *options, "-o", str(program), str(SOURCE), *linked], check=True)
    return str(program)


async def test_every_client_finds_every_name(tmp_path):
    async with running(tmp_path, "iptables", "nft") as node:
        upstream = node.lab.socket("n1", Family.IPV4, socket.SOCK_DGRAM)
        upstream.bind(("127.0.0.1", 5300))
        outside = fake.Everywhere(upstream, EXTERNAL)
        (tmp_path / "resolv.conf").write_text(f"nameserver {VIP[Family.IPV4]}\nsearch {SEARCH}\noptions ndots:5 timeout:30\n")

        async def says(*command):
            """Return the words that a command prints in a pod with that resolv.conf."""
            inside = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec \"$@\""
            whole = node.lab.command("n1p1", "unshare", "--mount", "sh", "-c", inside, "sh", *command)
            ran = await asyncio.create_subprocess_exec(*whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            printed, _ = await ran.communicate()
            return set(printed.decode().split())

        web = set(WEB.values())
        musl = built(tmp_path)
        try:
            for name in ("web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop.svc.cluster.local."):
                assert await says(musl, name) == web
                assert web <= await says("getent", "ahosts", name)
                assert await says("dig", "+search", "+short", name, "A", name, "AAAA") == web
            for ask in (("getent", "ahostsv4"), (musl,), ("dig", "+short")):
                assert EXTERNAL in await says(*ask, "www.example.com"), ask
            assert await says(musl, "none.shop") != web
            assert await says("dig", "+short", "+tcp", "web.shop.svc.cluster.local", f"@{VIP[Family.IPV6]}") == {WEB[Family.IPV4]}
            assert "web.shop.svc.cluster.local." in await says("dig", "+short", "-x", WEB[Family.IPV4])
            python = "import dns.resolver, sys; print(*dns.resolver.resolve(sys.argv[1], search=True))"
            assert await says(sys.executable, "-P", "-c", python, "web.shop") == {WEB[Family.IPV4]}
            await many_are_found(node, says, musl)
        finally:
            outside.close()


async def many_are_found(node, says, musl):
    """A name with more addresses than a datagram has room for: everybody gets addresses, and who takes TCP all of them (WIR-40, WIR-44)."""
    addresses = {f"10.244.9.{number}" for number in range(40)}
    headless = fake.service("shop", "many", (), clusterIP="None")
    fake.write(node.manifests, "many", headless, fake.endpoint_slice("shop", "many", sorted(addresses)))
    async with asyncio.timeout(60):
        while not addresses & await says(musl, "many"):  # noqa: ASYNC110 - until it is announced
            await asyncio.sleep(0.1)
    assert addresses <= await says("getent", "ahostsv4", "many")
    assert await says("dig", "+search", "+short", "+noedns", "many") == addresses


@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
async def test_pain_74_a_and_aaaa_from_one_socket_are_not_tracked(tmp_path, family):
    """Whoever asks, wherever: no entry of port 53 is in the table of connections while the resolver answers."""
    async with running(tmp_path, "iptables", "nft") as node:
        for place in ("n1p1", "n1"):
            with node.client(family, place) as client:
                for _ in range(20):
                    for qtype in ("A", "AAAA"):
                        reply = await fake.ask(client, (VIP[family], 53), "web.shop.svc.cluster.local", qtype, seconds=60)
                        assert fake.values(reply) == [WEB[Family.IPV4 if qtype == "A" else Family.IPV6]]
                source = client.getsockname()[1]
            assert f"sport={source} " not in node.run("conntrack", "-L", "-f", family.value.lower())
