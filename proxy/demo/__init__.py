"""A laboratory of network namespaces that play nodes and pods, and the demonstration that runs in it."""
