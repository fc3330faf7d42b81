"""When the kernel is read: at first, on foreign changes with ever longer pauses while they are not ours, and now and then."""

from pointsman.dataplane.lookout import Lookout


def read(lookout, start, *, touched=False, seconds=0.0):
    lookout.start(start)
    lookout.finish(start + seconds, touched=touched)


def looked():
    lookout = Lookout(300.0)
    read(lookout, 0.0)
    return lookout


def test_the_kernel_is_read_at_once_and_then_every_interval():
    lookout = Lookout(300.0)
    assert lookout.next_time() < 0.0
    read(lookout, 10.0)
    assert lookout.next_time() == 310.0
    read(lookout, 310.0)
    assert lookout.next_time() == 610.0


def test_the_first_foreign_change_is_looked_into_at_once():
    """Budget: a foreign flush is repaired in less than a second."""
    lookout = looked()
    lookout.notice(50.0)
    assert lookout.next_time() == 50.0


def test_pain_42_a_foreign_change_right_after_the_start_is_looked_into_at_once():
    lookout = Lookout(300.0)
    read(lookout, 0.0, seconds=2.0)
    lookout.notice(2.1)
    assert lookout.next_time() == 2.1
    read(lookout, 2.1, touched=True)
    lookout.notice(2.2)
    assert lookout.next_time() == 3.1


def test_a_foreign_writer_that_breaks_our_rules_is_answered_once_a_second():
    lookout = looked()
    for second in range(50, 60):
        lookout.notice(float(second))
        assert lookout.next_time() == second
        read(lookout, float(second), touched=True)
        lookout.notice(second + 0.1)
        assert lookout.next_time() == second + 1


def test_a_busy_neighbour_that_touches_nothing_of_ours_is_looked_at_ever_less():
    lookout, now, pauses = looked(), 50.0, []
    for _ in range(8):
        lookout.notice(now)
        read(lookout, now)
        lookout.notice(now + 0.01)
        pauses.append(lookout.next_time() - now)
        now = lookout.next_time()
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    read(lookout, now, touched=True)
    lookout.notice(now)
    assert lookout.next_time() == now + 1.0


def test_after_a_quiet_time_the_pause_is_forgotten():
    lookout, now = looked(), 50.0
    for _ in range(8):
        lookout.notice(now)
        now = lookout.next_time()
        read(lookout, now)
    lookout.notice(now + 100.0)
    assert lookout.next_time() == now + 100.0
    read(lookout, now + 100.0)
    lookout.notice(now + 100.5)
    assert lookout.next_time() == now + 102.0


def test_a_change_during_the_reading_is_looked_into_afterwards():
    lookout = looked()
    lookout.start(50.0)
    lookout.notice(50.1)
    lookout.finish(50.2, touched=False)
    assert 50.2 < lookout.next_time() <= 52.2


def test_the_pause_is_at_least_as_long_as_the_reading():
    lookout = looked()
    lookout.notice(50.0)
    read(lookout, 50.0, touched=True, seconds=7.0)
    lookout.notice(57.0)
    assert lookout.next_time() == 64.0


def test_a_reading_that_seems_to_have_taken_days_does_not_blind_us():
    """The machine was suspended while the kernel was read."""
    lookout = looked()
    lookout.notice(50.0)
    read(lookout, 50.0, touched=True, seconds=1e6)
    lookout.notice(1e6 + 50.0)
    assert lookout.next_time() == 1e6 + 80.0


def test_looking_for_drift_does_not_make_us_slow():
    lookout = looked()
    for second in range(300, 3000, 300):
        read(lookout, float(second))
    lookout.notice(3000.0)
    assert lookout.next_time() == 3000.0


def test_a_reading_that_fails_is_repeated_soon_then_less_often():
    lookout, now, waits = Lookout(300.0), 0.0, []
    for _ in range(11):
        lookout.start(now)
        lookout.fail(now)
        waits.append(round(lookout.next_time() - now, 6))
        now = lookout.next_time()
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    read(lookout, now)
    assert lookout.next_time() == now + 300.0
