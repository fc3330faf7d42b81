"""The contract between routes and kernels: fragments, their differences, plans, and when to apply them. Pure."""
