from pointsman.iptables.objects import SetKey
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import VirtualKey
from pointsman.routing.route import Family, Protocol


def test_keys_of_every_kind_live_in_one_map():
    keys = [AddressKey("10.96.0.1"), SetKey("KUBE-IPVS-IPS", "10.96.0.1"), VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)]
    assert len(dict.fromkeys((*keys, AddressKey("10.96.0.1")), "")) == 3
