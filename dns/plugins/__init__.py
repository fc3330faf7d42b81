"""What runs in a server block's chain, one module per plugin, in CoreDNS's words."""
