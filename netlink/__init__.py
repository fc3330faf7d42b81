"""Netlink messages: a pure codec and the sockets that carry them."""
