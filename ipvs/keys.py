"""Keys and values of the ipvs mode: what `compile` makes, `kernel` applies and observes. Pure.

Four kinds of objects work together, each with keys of its own:

- virtual and real servers (`objects`), values `VirtualServer` and `RealServer`;
- addresses on our device, which make the kernel deliver packets for Services to itself, where IPVS sees them: `AddressKey`, value empty;
- companion chains and hooks (`RuleKey`, as in the iptables mode): whole chains, none per Service but for the cluster's DNS, where the
  rules that lead to its chains share one;
- ipsets and their elements (`SetKey`): the value of an element is what it carries beside itself, such as `skbmark 0x60007530`.
"""

from msgspec import Struct
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer


class AddressKey(Struct, frozen=True, gc=False, order=True):
    """An address on our device, with the longest prefix of its family."""

    address: str


Key = VirtualKey | RealKey | AddressKey | RuleKey | SetKey
Value = VirtualServer | RealServer | str
