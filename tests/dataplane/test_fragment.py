"""What all owners want: reference counts, one value per key, batches that count as one step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.contract import ABSENT
from pointsman.dataplane.fragment import Desired, OwnersDisagreeError


def test_a_change_is_told_with_what_was_wanted_before():
    desired = Desired()
    assert desired.set("web", {"a": 1, "b": 2}) == {"a": ABSENT, "b": ABSENT}
    assert desired.set("web", {"b": 3, "c": 4}) == {"a": 1, "b": 2, "c": ABSENT}
    assert dict(desired.values) == {"b": 3, "c": 4}
    assert desired.drop("web") == {"b": 3, "c": 4}
    assert not desired.values
    assert not desired.owners


def test_what_is_set_again_unchanged_is_no_change():
    desired = Desired()
    desired.set("web", {"a": 1})
    assert desired.set("web", {"a": 1}) == {}
    assert desired.drop("nobody") == {}


def test_a_shared_key_stays_until_its_last_owner_lets_go():
    desired = Desired()
    for owner in ("one", "two", "three"):
        desired.set(owner, {"jump": ""})
    assert desired.drop("two") == {}
    assert desired.set("one", {}) == {}
    assert desired.drop("three") == {"jump": ""}


def test_a_key_passes_to_another_owner_with_another_value_in_one_step():
    """A renamed Service port gives its frontend to a new route."""
    desired = Desired()
    desired.set("old", {"10.96.0.1:80": "to old"})
    assert desired.update({"new": {"10.96.0.1:80": "to new"}, "old": None}) == {"10.96.0.1:80": "to old"}
    assert desired.update({"new": None, "old": {"10.96.0.1:80": "to new"}}) == {}
    assert desired.owners == {"old"}


def test_all_owners_of_a_key_may_change_its_value_together():
    desired = Desired()
    desired.update({"one": {"a": 1}, "two": {"a": 1}})
    assert desired.update({"one": {"a": 2}, "two": {"a": 2}}) == {"a": 1}


@pytest.mark.parametrize("batch", [{"two": {"new": 0, "a": 2}}, {"two": {"a": 2}, "three": {"a": 1}}, {"one": {"a": 2}, "two": {"a": 1}}])
def test_owners_that_disagree_are_both_named_and_nothing_changes(batch):
    desired = Desired()
    desired.update({"one": {"a": 1}, "zero": {"a": 1}})
    with pytest.raises(OwnersDisagreeError, match=r"'(zero|one|two|three)' and '(zero|one|two|three)' disagree on 'a': . or .;") as caught:
        desired.update(batch)
    assert caught.value.first[0] != caught.value.second[0]
    assert caught.value.first[1] != caught.value.second[1]
    assert dict(desired.values) == {"a": 1}
    assert desired.owners == {"one", "zero"}


def test_the_key_objects_of_many_owners_are_one():
    """10,000 owners of one key must not keep 10,000 copies of it."""
    desired = Desired()
    for number in range(5):
        desired.set(number, {tuple(["shared"]): ""})  # noqa: C409 - a new object each time
    objects = {id(desired.owned(number)[0]) for number in range(1, 5)}
    assert len(objects) == 1
    desired.set(3, {tuple(["shared"]): "", "more": ""})  # noqa: C409
    assert id(desired.owned(3)[0]) in objects


OWNERS = st.sampled_from("abcd")
KEYS = st.integers(0, 6)


@given(st.lists(st.dictionaries(OWNERS, st.none() | st.frozensets(KEYS), max_size=3), max_size=30), st.integers(0, 2))
def test_any_sequence_of_batches_gives_the_union_of_the_last_fragments(batches, flips):
    """The value of a key depends on the key and the step, so every batch that rewrites all owners of a key may change its value."""
    desired, model = Desired(), {}
    for step, batch in enumerate(batches):
        for owner, keys in batch.items():
            model.pop(owner, None)
            if keys:
                model[owner] = keys
        if step % 3 == flips:  # rewrite everybody, so that values may change
            batch = {**dict.fromkeys(batch), **model}  # noqa: PLW2901
        values = {key: (key, sum(1 for past in range(step + 1) if past % 3 == flips)) for keys in model.values() for key in keys}
        before = dict(desired.values)
        changed = desired.update({owner: keys and {key: values[key] for key in keys} for owner, keys in batch.items()})
        assert dict(desired.values) == values
        assert changed == {key: before.get(key, ABSENT) for key in {*before, *values} if before.get(key, ABSENT) != values.get(key, ABSENT)}
        assert desired.owners == set(model)
        assert all(set(desired.owned(owner)) == keys for owner, keys in model.items())
