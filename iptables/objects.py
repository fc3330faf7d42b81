"""Keys and values of the iptables mode: what `compile` makes, `render` writes, `parse` reads back.

Three kinds of keys, all strings inside, compared by value:

- `RuleKey(table, chain, "")` is a **whole chain** that has one owner; its value is the chain's complete body, one rule per line, each as
  `iptables-save` prints it without `-A CHAIN `. Order within the body is meaning.
- `RuleKey(table, chain, rule)` is **one rule of a shared chain**, in the same notation; its value is empty. Rules of a shared chain match
  disjoint packets, so their order means nothing; they are written sorted. A shared chain exists while it has a rule. A rule in a built-in
  chain (a hook) is the same, except that the chain itself is not ours.
- `SetKey(name, "")` is an ipset, its value the type and options; `SetKey(name, element)` is one element, its value empty.

`names` says which chains are shared and which names are ours. The notation is canonical, so comparing what is wanted with what is there is
a comparison of strings; both variants print it alike.
"""

from msgspec import Struct


class RuleKey(Struct, frozen=True, gc=False, order=True):
    """A whole chain (`rule` empty), or one rule of a shared or built-in chain."""

    table: str
    chain: str
    rule: str = ""

    def __str__(self) -> str:
        """Return `nat KUBE-SVC-67NZLRHBNDSAWJRO`, with the rule behind it if it is one."""
        return f"{self.table} {self.chain}: {self.rule}" if self.rule else f"{self.table} {self.chain}"


class SetKey(Struct, frozen=True, gc=False, order=True):
    """An ipset (`element` empty), or one element of it."""

    name: str
    element: str = ""

    def __str__(self) -> str:
        """Return `set POINTSMAN-HAIRPIN`, with the element behind it if it is one."""
        return f"set {self.name}: {self.element}" if self.element else f"set {self.name}"


Key = RuleKey | SetKey
Value = str

SET_ELEMENTS = "set elements"
"""What elements of sets are called where objects are counted; rules are called by their table."""


def rules_of(key: RuleKey, value: str) -> int:
    """Return how many rules stand for a key: one of a shared chain, or all of a whole chain."""
    if key.rule:
        return 1
    return value.count("\n") + 1 if value else 0
