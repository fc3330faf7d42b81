"""Only the wanted parts of the official client are loaded, and nobody else notices."""

import subprocess
import sys

import pytest
from pointsman.kube import library
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.library import load


def run(code):
    """Run Python in a process of its own; return what it prints."""
    ran = subprocess.run([sys.executable, "-P", "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_heavy_modules_stay_away():
    code = """
import sys
from pointsman.kube.library import load
found = load()
assert found is load()
assert found.configuration().api_key == {}
heavy = ("pydantic", "requests", "urllib3", "websocket", "dateutil", "kubernetes")
print(sorted(name for name in sys.modules if name.split(".")[0] in heavy))
"""
    assert run(code) == "[]"


def test_the_whole_library_can_still_be_imported():
    code = """
from pointsman.kube.library import load
load()
from kubernetes.aio import client
print(client.CoreV1Api.__name__, client.ApiClient.__name__)
"""
    assert run(code) == "CoreV1Api ApiClient"


def test_a_library_that_is_loaded_already_is_taken():
    code = """
from kubernetes.aio import client
from pointsman.kube.library import load
print(load().configuration is client.Configuration, client.ApiClient.__name__)
"""
    assert run(code) == "True ApiClient"


def test_without_the_library_people_are_told(monkeypatch):
    monkeypatch.setattr(library, "ROOT", "kubernetes_that_is_not_there")
    with pytest.raises(ApiConfigError, match="is not installed"):
        load.__wrapped__()


def test_the_systems_authorities_are_not_read_and_can_be_read_later():
    code = """
import os
os.environ["SSL_CERT_DIR"] = "/elsewhere"
os.environ.pop("SSL_CERT_FILE", None)
from pointsman.kube.library import load
load()
from aiohttp import connector
print(connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"], os.environ.get("SSL_CERT_FILE"), os.environ["SSL_CERT_DIR"])
"""
    assert run(code) == "0 None /elsewhere"


def test_other_threads_may_import_meanwhile():
    code = """
import sys, threading, types
from importlib.util import find_spec
from pointsman.kube import library

sys.setswitchinterval(1e-6)
(root,) = find_spec("kubernetes").submodule_search_locations
ended = threading.Event()

def importing():
    number = 0
    while not ended.is_set():
        number += 1
        name = f"other{number % 50}"
        sys.modules[name] = types.ModuleType(name)
        sys.modules.pop(f"other{(number + 25) % 50}", None)

others = [threading.Thread(target=importing) for _ in range(2)]
for other in others:
    other.start()
try:
    for _ in range(300):
        with library._packages(root):
            pass
finally:
    ended.set()
    for other in others:
        other.join()
print("kubernetes" in sys.modules)
"""
    assert run(code) == "False"
