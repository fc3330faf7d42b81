"""Files merged into one set of objects: last good states, faults, and the same object in two files."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube.events import Batch, Remove, Replace, Upsert
from pointsman.kube.folder import Folder, ManifestFile, parse_file, unreadable
from pointsman.kube.objects import Kind, KubeObject, ObjectRef, Service, ref_of


def manifest(name: str, port: object = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"


def stream(*documents: str) -> bytes:
    return "---\n".join(documents).encode()


def parse(content: bytes, former: ManifestFile | None = None, name: str = "a.yaml") -> ManifestFile:
    return parse_file(f"shop/{name}", name, 0, content, former)


def names(file: ManifestFile) -> list[str]:
    return sorted(ref.name for ref in file.objects())


def port_of(value: KubeObject) -> int:
    assert isinstance(value, Service)
    assert value.spec.ports
    return value.spec.ports[0].port


def ports(file: ManifestFile) -> dict[str, int]:
    return {ref.name: port_of(value) for ref, (_, value) in file.objects().items()}


def texts(file: ManifestFile) -> list[str]:
    return [str(problem) for problem in file.problems]


def test_a_good_file_replaces_all_it_said() -> None:
    first = parse(stream(manifest("a"), manifest("b")))
    second = parse(stream(manifest("b", 81)), first)
    assert ports(second) == {"b": 81}
    assert not second.problems
    assert not second.kept


def test_a_broken_object_keeps_its_last_good_state_and_only_it() -> None:
    first = parse(stream(manifest("a"), manifest("b"), manifest("c")))
    second = parse(stream(manifest("a", "x"), manifest("c", 82)), first)
    assert ports(second) == {"a": 80, "c": 82}
    assert texts(second) == ["shop/a.yaml:7: Service default/a: spec.ports[0].port: expected int, got str; its last good state stays"]
    mended = parse(stream(manifest("a", 83)), second)
    assert ports(mended) == {"a": 83}
    assert not mended.problems


def test_a_broken_object_that_never_was_good_is_absent() -> None:
    file = parse(stream(manifest("a", "x"), manifest("b")))
    assert names(file) == ["b"]
    assert texts(file) == ["shop/a.yaml:7: Service default/a: spec.ports[0].port: expected int, got str"]


def test_while_a_fault_may_be_about_any_object_all_missing_ones_stay() -> None:
    first = parse(stream(manifest("a"), manifest("b")))
    cut = parse(stream(manifest("a", 81), "apiVersion: v1\nkind: Serv\nmetadata: {na"), first)
    assert ports(cut) == {"a": 81, "b": 80}
    assert "the last good state of 1 objects that are missing now stays" in texts(cut)[0]
    still = parse(b"x: [", cut)
    assert ports(still) == {"a": 81, "b": 80}
    assert ports(parse(stream(manifest("b", 82)), still)) == {"b": 82}


def test_an_empty_file_counts_as_half_written_only_if_it_held_objects() -> None:
    assert not parse(b"").problems
    emptied = parse(b" \n", parse(stream(manifest("a"))))
    assert names(emptied) == ["a"]
    assert "half written" in texts(emptied)[0]
    assert names(parse(b"# nothing any more\n", emptied)) == []


def test_an_unreadable_file_keeps_everything() -> None:
    file = unreadable("shop/a.yaml", "a.yaml", 1, "cannot be read: Permission denied", parse(stream(manifest("a"))))
    assert names(file) == ["a"]
    assert texts(file) == ["shop/a.yaml: cannot be read: Permission denied; the last good state of its 1 objects stays"]
    assert texts(unreadable("x.yaml", "x.yaml", 1, "is a pipe", None)) == ["x.yaml: is a pipe"]


def test_an_object_twice_in_one_file_is_used_once_and_reported() -> None:
    file = parse(stream(manifest("a"), manifest("a", 81)))
    assert ports(file) == {"a": 80}
    assert texts(file) == ["shop/a.yaml:9: Service default/a: stands in this file already, on line 1; the first one is used"]


def test_unchanged_documents_are_not_decoded_again() -> None:
    first = parse(stream(manifest("a"), manifest("b"), manifest("c", "x")))
    second = parse(stream("# longer\n# by lines\n" + manifest("a", 81), manifest("b"), manifest("c", "x")), first)
    ref = ObjectRef(Kind.SERVICE, "default", "b")
    assert second.objects()[ref][1] is first.objects()[ref][1]
    assert (first.objects()[ref][0], second.objects()[ref][0]) == (9, 11)
    assert texts(second)[0].startswith("shop/a.yaml:25: ")


def test_unread_kinds_are_counted() -> None:
    folder = Folder("shop")
    folder.put(parse(b"apiVersion: apps/v1\nkind: Deployment\n"))
    assert folder.unread() == 1
    folder.drop("a.yaml")
    assert folder.unread() == 0


def taken(folder: Folder) -> Batch:
    batch = folder.take()
    assert batch is not None
    return batch


def test_the_first_delivery_is_complete_lists_of_every_kind() -> None:
    folder = Folder("shop")
    folder.put(parse(stream(manifest("a"))))
    batch = folder.take_all()
    assert {event.kind for event in batch.events if isinstance(event, Replace)} == set(Kind)
    assert sum(len(event.values) for event in batch.events if isinstance(event, Replace)) == 1
    assert batch.problems == ()
    assert folder.take() is None


def test_a_folder_is_blind_while_something_was_never_readable() -> None:
    folder = Folder("shop")
    folder.put(parse(stream(manifest("a"))))
    folder.put(parse(b"kind: [", name="b.yaml"))
    assert folder.take_all().blind
    folder.put(parse(stream(manifest("b")), folder.file("b.yaml"), name="b.yaml"))
    mended = folder.take()
    assert mended is not None
    assert not mended.blind
    for content in (b"kind: [", stream(manifest("b", "x"))):
        folder.put(parse(content, folder.file("b.yaml"), name="b.yaml"))
        broken = folder.take()
        assert broken is not None
        assert not broken.blind, "its last good state is known"
    folder.put(parse(stream(manifest("c", "x")), name="c.yaml"))
    unknown = folder.take()
    assert unknown is not None
    assert unknown.blind
    folder.drop("c.yaml")
    without = folder.take()
    assert without is not None
    assert not without.blind


def test_an_unreadable_file_is_blind_only_if_it_never_was_good() -> None:
    assert unreadable("shop/a.yaml", "a.yaml", 0, "gone", None).blind
    assert not unreadable("shop/a.yaml", "a.yaml", 0, "gone", parse(stream(manifest("a")))).blind


def test_changes_are_differences() -> None:
    folder = Folder("shop")
    first = parse(stream(manifest("a"), manifest("b"), manifest("c")))
    folder.put(first)
    folder.take_all()
    folder.put(parse(stream(manifest("a"), manifest("b", 81)), first))
    batch = taken(folder)
    assert [port_of(event.value) for event in batch.events if isinstance(event, Upsert)] == [81]
    assert [event.ref.name for event in batch.events if isinstance(event, Remove)] == ["c"]
    assert batch.problems is None


def test_an_object_moving_between_files_is_no_change() -> None:
    folder = Folder("shop")
    folder.put(parse(stream(manifest("a"))))
    folder.take_all()
    folder.drop("a.yaml")
    folder.put(parse(stream(manifest("a")), name="b.yaml"))
    assert folder.take() is None


@pytest.mark.parametrize("order", [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")])
def test_of_two_files_the_first_by_name_wins_and_the_other_takes_over(order: tuple[str, str]) -> None:
    folder = Folder("shop/")
    for name in order:
        folder.put(parse(stream(manifest("web", 80 if name == "a.yaml" else 81)), name=name))
    batch = folder.take_all()
    (found,) = [value for event in batch.events if isinstance(event, Replace) for value in event.values]
    assert port_of(found) == 80
    assert [str(problem) for problem in batch.problems or ()] == [
        "shop/b.yaml:1: Service default/web: stands in shop/a.yaml:1 too, which is used: it is first by name"
    ]
    folder.drop("a.yaml")
    batch = taken(folder)
    (event,) = batch.events
    assert isinstance(event, Upsert)
    assert port_of(event.value) == 81
    assert batch.problems == ()


def test_a_fault_of_the_folder_is_reported_until_it_is_over() -> None:
    folder = Folder("shop")
    folder.take_all()
    folder.fail("is gone")
    assert [str(problem) for problem in taken(folder).problems or ()] == ["shop: is gone"]
    folder.fail("is gone")
    assert folder.take() is None
    folder.fail("")
    assert taken(folder).problems == ()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_differences_add_up_to_what_the_files_say(seed: int) -> None:
    """However files come, change, break and go: applying the batches gives the winners of the files as they are."""
    chance = random.Random(seed)
    folder, files = Folder("shop"), dict[str, ManifestFile]()
    folder.take_all()
    known: dict[ObjectRef, KubeObject] = {}
    for _ in range(12):
        for _ in range(chance.randint(1, 3)):
            name = chance.choice(["a.yaml", "b.yaml", "c.yaml"])
            if chance.random() < 0.2:
                folder.drop(name)
                files.pop(name, None)
                continue
            documents = [manifest(chance.choice("uvw"), chance.choice([80, 81, "x"])) for _ in range(chance.randint(0, 3))]
            files[name] = parse(stream(*documents), files.get(name), name)
            folder.put(files[name])
        for event in (folder.take() or Batch()).events:
            match event:
                case Upsert():
                    assert known.get(ref_of(event.value)) != event.value
                    known[ref_of(event.value)] = event.value
                case Remove():
                    del known[event.ref]
                case Replace():
                    raise AssertionError(event)
        wanted: dict[ObjectRef, KubeObject] = {}
        for name in sorted(files, reverse=True):
            wanted |= {ref: value for ref, (_, value) in files[name].objects().items()}
        assert known == wanted
