"""The roof: configuration, command line, daemon, reconcile loop, status. Knows everybody, known by nobody."""
