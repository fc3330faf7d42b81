"""The API as the tests use it: an administrator's client whose sockets live in a namespace of the laboratory. Raw JSON, nothing of ours."""

import asyncio
import json
import ssl

import aiohttp

MERGE = "application/merge-patch+json"
STATUS = "status"
CALL_SECONDS = 60.0


class ApiError(Exception):
    """The API server refused; `code` is its HTTP status."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text[:500]}")
        self.code = code


class Api:
    """An administrator: by a client certificate, or by a bearer token."""

    def __init__(self, lab, place, server, authority, *, certificate=None, token=""):
        context = ssl.create_default_context(cafile=str(authority))
        if certificate:
            context.load_cert_chain(*map(str, certificate))

        def make(information):
            family, kind, *_ = information
            [made] = lab._namespaces.sockets(place, family, kind)
            return made

        self.server = server
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connector = aiohttp.TCPConnector(ssl=context, socket_factory=make, limit=32)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))

    async def close(self):
        await self._session.close()

    async def text(self, path, verb="GET", body=None, content_type="application/json"):
        """Return an answer's text. Raises ApiError, or aiohttp.ClientError where nobody answers."""
        sent = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type} if sent else {}
        async with self._session.request(verb, self.server + path, data=sent, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise ApiError(answer.status, text)
            return text

    async def call(self, verb, path, body=None, content_type="application/json"):
        return json.loads(await self.text(path, verb, body, content_type))

    async def get(self, path):
        return await self.call("GET", path)

    async def exists(self, path):
        """Return whether there is such an object."""
        try:
            return bool(await self.get(path))
        except ApiError as error:
            if error.code != 404:
                raise
            return False

    async def post(self, path, body):
        return await self.call("POST", path, body)

    async def patch(self, path, body):
        return await self.call("PATCH", path, body, MERGE)

    async def delete(self, path, seconds=None):
        body = None if seconds is None else {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": seconds}
        return await self.call("DELETE", path, body)

    async def create(self, *objects):
        """Create objects; return them as the API server has them."""
        return await asyncio.gather(*(self.post(collection(one), one) for one in objects))

    async def items(self, path):
        """Return a list's objects, each with apiVersion and kind as in a file."""
        found = await self.get(path)
        about = {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List")}
        return [about | one for one in found["items"]]


def collection(one):
    """Return the path to which an object is posted."""
    version, kind, namespace = one["apiVersion"], one["kind"], one["metadata"].get("namespace")
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    where = f"/namespaces/{namespace}" if namespace else ""
    plural = kind.lower() + ("es" if kind.endswith("s") else "s")
    return f"{root}{where}/{plural}"


def path_of(one, sub=""):
    """Return the path of an object, or of a part of it such as its status."""
    return f"{collection(one)}/{one['metadata']['name']}" + (f"/{sub}" if sub else "")
