"""The kernel's connection tracking: how much of it there is, and how long it remembers."""
