"""The first lists of a large cluster are read in bounded memory: as they come, or page by page, never as a whole.

The server is in this process, the reader in one of its own, whose peak is the kernel's own figure.
"""

import asyncio
import json
import sys

import pytest
from aiohttp import web
from pointsman.kube.resource import Way

SLICES = 10_000
MOST_MIB = 130
"""For interpreter, libraries and objects; the whole agent may take 200 MiB."""
SECONDS = 120.0
READER = """
import asyncio, sys
from pointsman.kube.api import ApiSource
from pointsman.kube.client import connect
from pointsman.routing.snapshot import EMPTY, advance

class Done(Exception):
    pass

async def main():
    client = await connect("", sys.argv[1])
    def sink(batch):
        snapshot, _ = advance(EMPTY, batch)
        if batch.events:
            memory = dict(line.split(":", 1) for line in open("/proc/self/status"))
            print(len(snapshot.services), len(snapshot.slices), int(memory["VmHWM"].split()[0]) // 1024)
            raise Done
    try:
        await ApiSource(client, "n1").run(sink)
    except* Done:
        pass
    await client.close()

asyncio.run(main())
"""


def slice_text(number):
    """Return a slice as an API server words it, ten endpoints and all that nobody reads."""
    endpoints = [
        {"addresses": [f"10.{number >> 8}.{number & 255}.{one}"], "nodeName": f"node-{(number + one) % 100}", "zone": f"zone-{one % 3}",
         "conditions": {"ready": True, "serving": True, "terminating": False},
         "targetRef": {"kind": "Pod", "namespace": "default", "name": f"web-{number}-{one}", "uid": f"{number:08}-{one:04}"}}
        for one in range(10)
    ]
    meta = {"name": f"web-{number}-x", "namespace": "default", "resourceVersion": str(number + 1), "uid": f"{number:036}",
            "labels": {"kubernetes.io/service-name": f"web-{number}"}, "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}] * 3}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return json.dumps({"metadata": meta, "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints, "ports": ports},
                      separators=(",", ":"))


def line(kind, text):
    return f'{{"type":"{kind}","object":{text}}}\n'.encode()


def bookmark(kind):
    meta = {"resourceVersion": str(SLICES), "annotations": {"k8s.io/initial-events-end": "true"}}
    return line("BOOKMARK", json.dumps({"kind": kind, "metadata": meta}))


async def watched(request, kind, *, first):
    """Answer a watch that says nothing but, if it is asked, the first list."""
    response = web.StreamResponse()
    await response.prepare(request)
    if first:
        if kind == "EndpointSlice":
            for number in range(SLICES):
                await response.write(line("ADDED", slice_text(number)))
        await response.write(bookmark(kind))
    await asyncio.Event().wait()
    return response


def listed(kind, numbers, following=""):
    """Return a list's body in parts."""
    meta = json.dumps({"resourceVersion": str(SLICES), "continue": following})
    yield f'{{"kind":"{kind}List","metadata":{meta},"items":['
    for number in numbers if kind == "EndpointSlice" else ():
        yield ("," if number != numbers[0] else "") + slice_text(number)
    yield "]}"


async def whole(request, kind):
    response = web.StreamResponse()
    await response.prepare(request)
    for part in listed(kind, range(SLICES)):
        await response.write(part.encode())
    return response


def page(request, kind):
    start, size = int(request.query.get("continue", "0")), int(request.query["limit"])
    following = str(start + size) if kind == "EndpointSlice" and start + size < SLICES else ""
    return web.Response(text="".join(listed(kind, range(start, min(start + size, SLICES)), following)))


def server(way):
    """Return what answers requests, and knows only one way to give a list."""

    async def answer(request):
        kinds = {"services": "Service", "endpointslices": "EndpointSlice", "nodes": "Node"}
        kind = kinds.get(request.path.rpartition("/")[2])
        if kind is None:
            return web.Response(status=404)
        if "sendInitialEvents" in request.query:
            return await watched(request, kind, first=True) if way is Way.STREAM else web.Response(status=422)
        if "watch" in request.query:
            return await watched(request, kind, first=False)
        if "limit" in request.query:
            return page(request, kind)
        return await whole(request, kind) if way is Way.WHOLE else web.Response(status=504)

    return answer


@pytest.mark.parametrize("way", Way)
async def test_ten_thousand_slices_of_ten_endpoints(way):
    runner = web.ServerRunner(web.Server(server(way)), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", READER, f"http://127.0.0.1:{runner.addresses[0][1]}", stdout=asyncio.subprocess.PIPE
        )
        try:
            said, _ = await asyncio.wait_for(reader.communicate(), SECONDS)
        finally:
            if reader.returncode is None:
                reader.kill()
                await reader.wait()
        services, slices, peak = map(int, said.split())
        assert (services, slices) == (0, SLICES)
        assert peak < MOST_MIB
        print(f"{way.value}: {peak} MiB at most")
    finally:
        await runner.cleanup()
