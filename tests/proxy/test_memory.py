import gc
import subprocess
import sys

from pointsman.proxy import memory


def test_what_is_there_is_out_of_the_garbage_collectors_sight() -> None:
    gc.unfreeze()
    memory.give_back()
    try:
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()


def test_freed_memory_goes_back_to_the_kernel() -> None:
    code = """
from pointsman.proxy import memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4
assert memory.use_one_arena()
blocks = [b"x" * 100_000 for _ in range(1000)]
pin = b"y" * 100_000
full = resident()
del blocks
memory.give_back()
assert resident() < full - 80_000, (full, resident())
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
