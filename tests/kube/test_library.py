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
    """One does while the modules are gone through that shall leave no trace: this name stands for it."""
    code = """
import sys
from importlib.util import find_spec
from pointsman.kube import library

class Name(str):
    looked = 0

    def startswith(self, *words):
        Name.looked += 1
        sys.modules[f"imported{Name.looked}"] = sys
        return super().startswith(*words)

(root,) = find_spec("kubernetes").submodule_search_locations
sys.modules[Name("looked_at")] = sys
with library._packages(root):
    Name.looked = 0
print(Name.looked > 0, "kubernetes" in sys.modules)
"""
    assert run(code) == "True False"
