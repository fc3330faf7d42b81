"""The Corefile of a node that names none can be read, and says what kubeadm's says."""

import pytest
from pointsman.dns.corefile.files import read
from pointsman.dns.corefile.options import ForwardOptions, HealthOptions, KubernetesOptions
from pointsman.proxy.dns import defaults


@pytest.mark.parametrize(("addresses", "health"), [(("169.254.20.10",), "169.254.20.10:8080"), (("fd53::a",), "[fd53::a]:8080")])
def test_it_is_read_without_a_finding(tmp_path, addresses, health):
    (tmp_path / "Corefile").write_text(defaults.corefile("example.test", addresses))
    loaded = read(str(tmp_path / "Corefile"))
    assert loaded.findings == ()
    kubernetes = loaded.corefile.one(KubernetesOptions)
    assert (kubernetes.zones[0], kubernetes.ttl, kubernetes.pods) == ("example.test.", 30, "insecure")
    assert loaded.corefile.one(HealthOptions).address == health
    assert loaded.corefile.one(ForwardOptions).max_concurrent == 1000
