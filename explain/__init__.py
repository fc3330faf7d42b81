"""What should happen, what the kernel does, and why they differ: answers to "why did this connection go there?"."""
