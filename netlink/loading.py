"""One thread at a time loads pyroute2.

It is large, so it is loaded when it is first needed, which is on threads. Its modules import each other in circles: of two threads that
begin with different ones each sees half of what the other loads, and Python, which rather lets them see that than wait for each other for
ever, fails one of the imports. So whoever imports from it on a thread holds `ALONE`.
"""

from threading import Lock
from typing import Final

ALONE: Final = Lock()
