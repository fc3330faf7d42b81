"""What the kernel's rules and sets are, read at one moment for an explanation: both variants, all tables, everybody's. Writes nothing.

Both variants hold at once if both have rules, so both are read; of ipsets, those that some rule asks. A variant whose tools or tables are
not there has nothing to say. `walk` goes through what is read here.
"""

import asyncio
from collections.abc import Iterable

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import ipset
from pointsman.iptables.ruleset import Ruleset, ruleset
from pointsman.iptables.run import LONG, lines, output_of
from pointsman.iptables.setlist import SavedSet, saved_sets
from pointsman.iptables.variant import Variant, find_tools, legacy_tables
from pointsman.routing.route import Family


class Reading(Struct, frozen=True):
    """Rule sets, that of the mode's variant first; the ipsets that they ask; and everything in words, for people."""

    rulesets: tuple[Ruleset, ...]
    sets: dict[str, SavedSet]
    said: str


async def read(family: Family, first: Variant) -> Reading:
    """Read both variants and the sets; raises KernelError if the mode's own variant cannot be read."""
    found: list[Ruleset] = []
    for variant in (first, *(one for one in Variant if one is not first)):
        try:
            rules = await rules_of(family, variant)
        except KernelError as error:
            if variant is first or error.kind is ErrorKind.DENIED:
                raise
            continue
        if variant is first or any(chain.rules for chains in rules.tables.values() for chain in chains.values()):
            found.append(rules)
    sets = await _sets(sorted({name for rules in found for name in rules.sets}))
    count = sum(len(chain.rules) for rules in found for chains in rules.tables.values() for chain in chains.values())
    named = " and ".join(rules.label for rules in found)
    return Reading(tuple(found), sets, f"{count} rules ({named}), {len(sets)} sets")


async def rules_of(family: Family, variant: Variant) -> Ruleset:
    """Return the rules of one variant with their counters; looking creates no table."""
    listing: list[str] = []
    tools = await find_tools(family, variant)
    if variant is Variant.NFT or legacy_tables(family):
        await lines([tools.save, "-c"], listing.extend)
    return await asyncio.to_thread(ruleset, listing, f"iptables {variant.value}")


async def _sets(names: Iterable[str]) -> dict[str, SavedSet]:
    wanted = list(names)
    if not wanted:
        return {}
    there = set((await output_of([ipset.program(), "list", "-name"])).split())
    listing: list[str] = []
    for name in wanted:
        if name in there:
            await lines([ipset.program(), "save", name], listing.extend, seconds=LONG)
    return saved_sets(listing)
