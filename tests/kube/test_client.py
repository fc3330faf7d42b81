"""Requests over real sockets, with and without TLS, to a server that does what it is told."""

import asyncio
import json
import logging
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from pointsman.kube import client as module
from pointsman.kube.access import Access, Place
from pointsman.kube.client import ApiClient, connect
from pointsman.kube.errors import ApiConfigError, ApiError
from pointsman.kube.library import load
from pointsman.kube.throttle import Throttle

PATIENCE = 60.0


class Server:
    """An HTTP server that answers each request by the next of its `answers`, then by 200 with `{}`."""

    def __init__(self):
        self.requests = []
        self.answers = []
        self.url = ""

    async def answer(self, request):
        self.requests.append((request.method, request.raw_path, dict(request.headers), await request.text()))
        if self.answers:
            return await self.answers.pop(0)(request)
        return web.Response(text="{}")

    def header(self, name):
        return [headers.get(name) for _, _, headers, _ in self.requests]

    @asynccontextmanager
    async def running(self, tls=None):
        runner = web.ServerRunner(web.Server(self.answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


def saying(code, body="", **headers):
    async def answer(_request):
        return web.Response(status=code, text=body, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return answer


def streaming(*parts, finish="end"):
    """Send parts, then end, break the connection, or hang."""

    async def answer(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if finish == "break":
            request.transport.abort()
        elif finish == "hang":
            await asyncio.Event().wait()
        return response

    return answer


@asynccontextmanager
async def connected(server, tmp_path=None, **options):
    if tmp_path is None:
        client = await connect("", server.url, **options)
    else:
        client = await connect(str(tmp_path / "kubeconfig"), "", **options)
    try:
        yield client
    finally:
        await client.close()


def kubeconfig(folder, server, user, **cluster):
    (folder / "kubeconfig").write_text(json.dumps({
        "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": server} | cluster}], "users": [{"name": "x", "user": user}],
    }))


async def read_all(stream, patience=PATIENCE):
    parts = []
    while part := await stream.read(patience):
        parts.append(part)
    return b"".join(parts)


async def test_bytes_come_as_they_are_and_queries_are_encoded():
    async with Server().running() as server, connected(server) as client:
        server.answers = [saying(200, "\x00any bytes")]
        assert await client.get("/api/v1/services", {"fieldSelector": "spec.clusterIP!=None", "limit": "5"}) == b"\x00any bytes"
        [(method, path, headers, _)] = server.requests
        assert (method, path) == ("GET", "/api/v1/services?fieldSelector=spec.clusterIP%21%3DNone&limit=5")
        assert headers["User-Agent"] == "pointsman"


async def test_bodies_are_sent_as_json():
    async with Server().running() as server, connected(server) as client:
        await client.post("/events", {"note": "hello"})
        await client.patch("/nodes/n1", {"metadata": {}})
        assert [(method, body) for method, _, _, body in server.requests] == [("POST", '{"note": "hello"}'), ("PATCH", '{"metadata": {}}')]
        assert server.header("Content-Type") == ["application/json", "application/merge-patch+json"]


async def test_a_stream_is_read_part_by_part():
    async with Server().running() as server, connected(server) as client:
        server.answers = [streaming(b"one\n", b"two\n")]
        async with client.stream("/watch") as stream:
            assert await read_all(stream) == b"one\ntwo\n"


async def test_a_stream_that_breaks_is_an_error():
    async with Server().running() as server, connected(server) as client:
        server.answers = [streaming(b"one\n", finish="break")]
        async with client.stream("/watch") as stream:
            with pytest.raises(ApiError) as caught:
                await read_all(stream)
        assert caught.value.status == 0


async def test_a_stream_that_hangs_is_left_after_a_while():
    async with Server().running() as server, connected(server) as client:
        server.answers = [streaming(b"one\n", finish="hang")]
        async with client.stream("/watch") as stream:
            assert await stream.read(PATIENCE) == b"one\n"
            with pytest.raises(ApiError, match="does not answer"):
                await stream.read(0.01)
        assert await client.get("/after") == b"{}"


async def test_a_server_that_takes_requests_and_never_answers(monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)

    async def never(_request):
        await asyncio.Event().wait()

    async with Server().running() as server, connected(server) as client:
        server.answers = [never]
        with pytest.raises(ApiError, match="does not answer"):
            await client.get("/x")


async def test_a_refusal_is_told_in_the_servers_words():
    body = json.dumps({"kind": "Status", "message": "services is forbidden", "reason": "Forbidden", "code": 403})
    async with Server().running() as server, connected(server) as client:
        server.answers = [saying(403, body), saying(502, "<html>bad gateway</html>"), saying(429, "", Retry_After="7")]
        errors = []
        for _ in range(3):
            with pytest.raises(ApiError) as caught:
                await client.get("/x")
            errors.append(caught.value)
        assert [(error.status, error.reason, error.retry_after) for error in errors] == [
            (403, "services is forbidden", None), (502, "Bad Gateway", None), (429, "Too Many Requests", 7.0),
        ]


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "999999999", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_retry_after_that_is_no_number_of_seconds_is_ignored(text):
    async with Server().running() as server, connected(server) as client:
        server.answers = [saying(503, "", Retry_After=text)]
        with pytest.raises(ApiError) as caught:
            await client.get("/x")
        assert caught.value.retry_after is None


async def test_a_body_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_BODY", 1000)
    async with Server().running() as server, connected(server) as client:
        server.answers = [streaming(b"x" * 5000)]
        with pytest.raises(ApiError, match="is it an API server"):
            await client.get("/x")


async def test_after_401_the_token_is_read_again_and_the_request_repeated(tmp_path):
    """A ServiceAccount's token has been replaced; the old one has expired already."""
    (tmp_path / "token").write_text("old")
    async with Server().running() as server:
        kubeconfig(tmp_path, server.url, {"tokenFile": str(tmp_path / "token")})
        async with connected(server, tmp_path) as client:
            await client.get("/x")
            (tmp_path / "token").write_text("new\n")
            server.answers = [saying(401)]
            assert await client.get("/x") == b"{}"
            assert server.header("Authorization") == ["Bearer old", "Bearer old", "Bearer new"]


async def test_many_refusals_at_once_have_credentials_read_once(tmp_path, monkeypatch):
    """Each kind has its request; a plug-in need not run for every one."""
    (tmp_path / "token").write_text("old")
    both = asyncio.Barrier(3)

    async def together(_request):
        await both.wait()
        return web.Response(status=401)

    async with Server().running() as server:
        kubeconfig(tmp_path, server.url, {"tokenFile": str(tmp_path / "token")})
        async with connected(server, tmp_path) as client:
            (tmp_path / "token").write_text("new")
            server.answers = [together] * 3
            refreshed, refresh = [], Access.refresh

            async def counted(self, now):
                refreshed.append(now)
                await refresh(self, now)

            monkeypatch.setattr(Access, "refresh", counted)
            await asyncio.gather(*(client.get("/x") for _ in range(3)))
            assert server.header("Authorization") == ["Bearer old"] * 3 + ["Bearer new"] * 3
            assert len(refreshed) == 1


async def test_401_twice_is_an_error():
    async with Server().running() as server, connected(server) as client:
        server.answers = [saying(401), saying(401)]
        with pytest.raises(ApiError) as caught:
            await client.get("/x")
        assert caught.value.unauthorized
        assert len(server.requests) == 2


async def test_credentials_that_cannot_be_read_again_leave_the_former_ones(tmp_path, caplog):
    async with Server().running() as server:
        kubeconfig(tmp_path, server.url, {"token": "good"})
        async with connected(server, tmp_path) as client:
            (tmp_path / "kubeconfig").write_text("half a {")
            server.answers = [saying(401)]
            with caplog.at_level(logging.WARNING):
                assert await client.get("/x") == b"{}"
                await client.get("/x")
            assert server.header("Authorization") == ["Bearer good"] * 3
            assert len(caplog.records) == 1


async def test_nobody_there_is_told_with_the_address():
    async with Server().running() as server:
        pass
    async with connected(server) as client:
        with pytest.raises(ApiError, match=r"127\.0\.0\.1:\d+ cannot be reached"):
            await client.get("/x")


async def test_a_name_that_does_not_exist_is_told(monkeypatch):
    def unknown(*_arguments, **_more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    client = await connect("", "http://nowhere.invalid:6443")
    with pytest.raises(ApiError, match=r"nowhere\.invalid.*Name or service not known"):
        await client.get("/x")
    await client.close()


async def test_a_plug_in_that_hangs_is_told(monkeypatch):
    async def never(_self, _now):
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "PREPARE_SECONDS", 0.05)
    monkeypatch.setattr(Access, "refresh", never)
    with pytest.raises(ApiConfigError, match="did not end within"):
        await connect("", "http://127.0.0.1:1")


async def test_a_proxy_is_asked_in_the_servers_place(tmp_path):
    async with Server().running() as proxy:
        kubeconfig(tmp_path, "http://api.example:8080", {"token": "t"}, **{"proxy-url": proxy.url})
        async with connected(proxy, tmp_path) as client:
            assert await client.get("/x") == b"{}"
        assert [path for _, path, _, _ in proxy.requests] == ["http://api.example:8080/x"]


async def test_requests_are_told_to_the_observer():
    """MET-15: rest_client_requests_total counts by code, method and host."""
    seen = []
    async with Server().running() as server:
        async with connected(server, on_request=lambda *told: seen.append(told)) as client:
            server.answers = [saying(404)]
            with pytest.raises(ApiError):
                await client.get("/x")
            await client.post("/x", {})
        host = server.url.removeprefix("http://")
    async with connected(server, on_request=lambda *told: seen.append(told)) as client:
        with pytest.raises(ApiError):
            await client.get("/x")
    assert [told[:3] for told in seen] == [("GET", "404", host), ("POST", "200", host), ("GET", "<error>", host)]
    assert all(told[3] > 0 for told in seen)


async def test_requests_keep_to_the_rate_and_further_pages_belong_to_the_first():
    class Counted(Throttle):
        times = 0

        def reserve(self, now):
            self.times += 1
            return 0.001 * super().reserve(now)

    throttle = Counted(5, 1)
    async with Server().running() as server:
        client = ApiClient(Access(Place(master=server.url), load()), load(), throttle)
        await client.get("/x")
        await client.get("/x", {"continue": "abc"})
        await client.post("/x", {})
        await client.close()
    assert throttle.times == 2


# --- TLS --------------------------------------------------------------------------------------------------------------


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities, each with a certificate for 127.0.0.1; without the extensions that Python 3.13 would insist on."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        ca = folder / f"{name}-ca"
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
        openssl(*new, "-keyout", f"{ca}.key", "-out", f"{ca}.crt", "-subj", f"/CN={name}")
        openssl(*new, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-subj", "/CN=127.0.0.1",
                "-addext", "subjectAltName=IP:127.0.0.1", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key")
    return folder


def context(folder, name, *, client=""):
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    if client:
        found.load_verify_locations(folder / f"{client}-ca.crt")
        found.verify_mode = ssl.CERT_REQUIRED
    return found


async def test_the_right_authority_is_accepted_and_the_wrong_one_told(tmp_path, certificates):
    async with Server().running(context(certificates, "one")) as server:
        for name in ("one", "two"):
            kubeconfig(tmp_path, server.url, {"token": "t"}, **{"certificate-authority": str(certificates / f"{name}-ca.crt")})
            async with connected(server, tmp_path) as client:
                if name == "one":
                    assert await client.get("/x") == b"{}"
                    continue
                with pytest.raises(ApiError, match="certificate that is not accepted"):
                    await client.get("/x")


async def test_replaced_client_certificates_make_a_new_session_and_streams_keep_the_old(tmp_path, certificates):
    for suffix in ("crt", "key"):
        (tmp_path / f"me.{suffix}").write_bytes((certificates / f"one.{suffix}").read_bytes())
    user = {"client-certificate": str(tmp_path / "me.crt"), "client-key": str(tmp_path / "me.key")}
    async with Server().running(context(certificates, "one", client="one")) as server:
        kubeconfig(tmp_path, server.url, user, **{"certificate-authority": str(certificates / "one-ca.crt")})
        access = Access(Place(str(tmp_path / "kubeconfig")), load())
        client = ApiClient(access, load(), Throttle(-1))
        assert await client.get("/x") == b"{}"
        go_on = asyncio.Event()

        async def slow(request):
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"one\n")
            await go_on.wait()
            await response.write(b"two\n")
            return response

        server.answers = [slow]
        async with client.stream("/watch") as stream:
            assert await stream.read(PATIENCE) == b"one\n"
            (tmp_path / "me.crt").write_bytes((certificates / "two.crt").read_bytes())
            access.distrust()
            assert await client.get("/x") == b"{}"  # crt and key do not fit while only one is replaced: the former ones stay
            (tmp_path / "me.key").write_bytes((certificates / "two.key").read_bytes())
            access.distrust()
            with pytest.raises(ApiError):  # the server does not accept the new authority: so the new session is in use
                await client.get("/x")
            go_on.set()
            assert await read_all(stream) == b"two\n"
        await client.close()


async def test_certificates_that_cannot_be_used_are_told(tmp_path):
    (tmp_path / "ca").write_text("no certificate")
    kubeconfig(tmp_path, "https://127.0.0.1:1", {"token": "t"}, **{"certificate-authority": str(tmp_path / "ca")})
    with pytest.raises(ApiConfigError, match=r"certificates for https://127\.0\.0\.1:1 cannot be used"):
        await connect(str(tmp_path / "kubeconfig"), "")
