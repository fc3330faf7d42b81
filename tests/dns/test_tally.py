"""Counters."""

from pointsman.dns.tally import Sample, Tally


def test_a_cell_is_the_same_list_every_time_and_dump_tells_its_value():
    tally = Tally()
    cell = tally.cell("m_total", "a", "b")
    cell[0] += 2
    assert tally.cell("m_total", "a", "b") is cell
    assert list(tally.dump()) == [Sample("m_total", ("a", "b"), (2,))]


def test_a_histogram_counts_per_bucket_and_keeps_the_sum():
    tally = Tally()
    histogram = tally.histogram("h", (1.0, 2.0))
    for value, times in ((0.5, 1), (1.0, 2), (1.5, 1), (9.0, 1)):
        histogram.observe(value, times)
    assert list(tally.dump()) == [Sample("h", (), (3, 1, 1, 13.0), (1.0, 2.0))]


def test_what_is_gone_is_forgotten_by_its_first_labels():
    tally = Tally()
    for label in ("up", "down"):
        tally.cell("c", label, "x")
        tally.histogram("h", (1.0,), label)
    tally.forget("c", "up")
    tally.forget("h", "down")
    assert [(sample.metric, sample.labels) for sample in tally.dump()] == [("c", ("down", "x")), ("h", ("up",))]
