"""Profiles in pprof's format: read back field by field, by a reader that knows only the wire format."""

import gzip

from hypothesis import given
from hypothesis import strategies as st
from pointsman.proxy.pprof import Frame, folded, profile

MAIN, RUN, STEP = Frame("main", "cli/main.py", 80), Frame("run", "daemon.py", 12), Frame("step", "loop.py", 200)
SAMPLES = {(RUN, MAIN): (3, 30_000_000), (STEP, RUN, MAIN): (1, 5_000_000)}


def fields(content):
    """Yield number and value of each field of a message; values are numbers or bytes."""
    place = 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(content):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2
            size = varint()
            yield key >> 3, content[place : place + size]
            place += size


def many(content, number):
    return [value for field, value in fields(content) if field == number]


def numbers(content):
    return [value for _, value in fields(b"".join(b"\x08" + bytes(one) for one in split(content)))]


def split(content):
    found = bytearray()
    for byte in content:
        found.append(byte)
        if byte < 0x80:
            yield bytes(found)
            found.clear()


def read(content):
    """Return {stack: (count, nanoseconds)} of a profile."""
    whole = gzip.decompress(content)
    strings = [value.decode() for value in many(whole, 6)]
    functions = {dict(fields(one))[1]: dict(fields(one)) for one in many(whole, 5)}
    frames = {}
    for one in many(whole, 4):
        line = dict(fields(dict(fields(one))[4]))
        function = functions[line[1]]
        frames[dict(fields(one))[1]] = Frame(strings[function[2]], strings[function[4]], line.get(2, 0))
    found = {}
    for one in many(whole, 2):
        places, values = dict(fields(one))[1], dict(fields(one))[2]
        found[tuple(frames[number] for number in numbers(places))] = tuple(numbers(values))
    return found


def test_what_was_sampled_is_read_back() -> None:
    assert read(profile(SAMPLES, 10**18, 2.5, 10_000_000)) == SAMPLES


def test_units_times_and_the_empty_first_string() -> None:
    whole = gzip.decompress(profile(SAMPLES, 10**18, 2.5, 10_000_000))
    strings = [value.decode() for value in many(whole, 6)]
    assert strings[0] == ""
    kinds = [tuple(strings[number] for _, number in fields(one)) for one in many(whole, 1)]
    assert kinds == [("samples", "count"), ("cpu", "nanoseconds")]
    assert (many(whole, 9), many(whole, 10), many(whole, 12)) == ([10**18], [2_500_000_000], [10_000_000])


FRAMES = st.builds(Frame, st.text(max_size=5), st.text(max_size=5), st.integers(0, 2**31))
STACKS = st.lists(FRAMES, min_size=1, max_size=4).map(tuple)


@given(st.dictionaries(STACKS, st.tuples(st.integers(1, 2**40), st.integers(0, 2**60)), max_size=8))
def test_any_samples_are_read_back(samples) -> None:
    assert read(profile(samples, 1, 1.0, 1)) == samples


def test_as_text_the_outermost_frame_comes_first_and_the_dearest_stack_on_top() -> None:
    assert folded({stack: value for stack, (_, value) in SAMPLES.items()}) == (
        "main (cli/main.py:80);run (daemon.py:12) 30000000\nmain (cli/main.py:80);run (daemon.py:12);step (loop.py:200) 5000000\n"
    )
