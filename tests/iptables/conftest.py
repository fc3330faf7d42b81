"""Scratch namespaces with a lock file of their own, for every test that programs a kernel."""

import pytest
from fakes.scratch import lock_file, namespace
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family


@pytest.fixture
def scratch(monkeypatch, tmp_path):
    """Enter a fresh network namespace for the test; the value is the path of its lock file."""
    with lock_file(monkeypatch, tmp_path) as path, namespace():
        yield path


@pytest.fixture(params=list(Variant), ids=lambda variant: variant.value)
def variant(request):
    return request.param


@pytest.fixture(params=list(Family), ids=lambda family: family.value)
def family(request):
    return request.param


@pytest.fixture
def kernel(scratch, family, variant):
    made = IptablesKernel(family, variant, Writer())
    yield made
    made.close()
