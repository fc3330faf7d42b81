"""The agent's side of DNS: sockets, the resolver's process, what it is told, and what the node needs so that queries come to it."""
