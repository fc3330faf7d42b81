"""Hypothesis strategies for virtual and real servers, and pyroute2's own encoding of them to compare with."""

import sys
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st
from pointsman.ipvs.objects import (
    Forwarding,
    RealKey,
    RealServer,
    ServerFlag,
    Tunnel,
    TunnelKind,
    VirtualKey,
    VirtualServer,
)
from pointsman.ipvs.schedulers import Scheduler
from pointsman.routing.route import Family, Protocol
from pyroute2.netlink.generic import ipvs

U32 = st.integers(0, 2**32 - 1)
WEIGHTS = st.integers(0, 2**31 - 1)
PORTS = st.integers(0, 65535)
ADDRESSES = {
    Family.IPV4: st.integers(0, 2**32 - 1).map(IPv4Address).map(str),
    Family.IPV6: st.integers(0, 2**128 - 1).map(IPv6Address).map(str),
}
FLAGS = st.integers(0, 0x3F).map(lambda bits: ServerFlag(bits & ~0x02))  # 0x02 is the kernel's own


@st.composite
def virtual_keys(draw):
    family = draw(st.sampled_from(Family))
    if draw(st.booleans()):
        return VirtualKey(family, mark=draw(st.integers(1, 2**32 - 1)))
    return VirtualKey(family, draw(st.sampled_from(Protocol)), draw(ADDRESSES[family]), draw(PORTS))


@st.composite
def virtual_servers(draw, family):
    return VirtualServer(
        draw(st.sampled_from([*map(str, Scheduler), "lastfifteenchars"[:15]])),
        draw(FLAGS),
        draw(U32),
        draw(st.none() | st.integers(1, 31 if family is Family.IPV4 else 127)),
        draw(st.sampled_from(["", "sip"])),
    )


@st.composite
def real_keys(draw):
    virtual = draw(virtual_keys())
    return RealKey(virtual, draw(ADDRESSES[draw(st.sampled_from(Family))]), draw(PORTS))


@st.composite
def real_servers(draw):
    forwarding = draw(st.sampled_from(Forwarding))
    outer = st.builds(Tunnel, st.sampled_from(TunnelKind), PORTS, st.integers(0, 2))
    tunnel = draw(outer) if forwarding is Forwarding.TUNNEL else Tunnel()
    return RealServer(draw(WEIGHTS), forwarding, draw(U32), draw(U32), tunnel)


AF = {Family.IPV4: 2, Family.IPV6: 10}
NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}


def by_library(command, *attributes):
    """Return the body that pyroute2 encodes: what follows the netlink header."""
    message = ipvs.ipvsmsg()
    message["cmd"], message["version"], message["attrs"] = command, 1, list(attributes)
    message.encode()
    return bytes(message.data[16:])


def service(key, server=None):
    """Return the attribute of a virtual server for pyroute2."""
    named = {"AF": AF[key.family]}
    if key.protocol is None:
        named["FWMARK"] = key.mark
    else:
        named |= {"PROTOCOL": NUMBERS[key.protocol], "ADDR": key.address, "PORT": key.port}
    if server is not None:
        bits = 32 if key.family is Family.IPV4 else 128
        prefix = bits if server.persistence_prefix is None else server.persistence_prefix
        # The library writes every mask as a dotted one: for IPv6 these four bytes must spell the prefix length.
        mask = (2**32 - 2 ** (32 - prefix)).to_bytes(4, "big") if bits == 32 else prefix.to_bytes(4, sys.byteorder)
        named |= {
            "SCHED_NAME": server.scheduler,
            "FLAGS": {"flags": int(server.flags), "mask": 0xFFFFFFFF},
            "TIMEOUT": server.persistence_seconds,
            "NETMASK": str(IPv4Address(mask)),
        }
        if server.persistence_engine:
            named["PE_NAME"] = server.persistence_engine
    return "IPVS_CMD_ATTR_SERVICE", {"attrs": [(f"IPVS_SVC_ATTR_{name}", value) for name, value in named.items()]}


def destination(key, server=None):
    """Return the attribute of a real server for pyroute2."""
    named = {"ADDR": key.address, "PORT": key.port}
    if server is not None:
        named |= {
            "FWD_METHOD": server.forwarding.value,
            "WEIGHT": server.weight,
            "U_THRESH": server.upper,
            "L_THRESH": server.lower,
        }
    named["ADDR_FAMILY"] = 10 if ":" in key.address else 2
    if server is not None and server.forwarding is Forwarding.TUNNEL:
        # The library writes the port in the machine's byte order, the kernel reads it in the network's.
        swapped = int.from_bytes(server.tunnel.port.to_bytes(2, "big"), sys.byteorder)
        named |= {"TUN_TYPE": server.tunnel.kind.value, "TUN_PORT": swapped, "TUN_FLAGS": server.tunnel.flags}
    return "IPVS_CMD_ATTR_DEST", {"attrs": [(f"IPVS_DEST_ATTR_{name}", value) for name, value in named.items()]}
