"""The resolver: the cluster's names from memory, the rest forwarded and cached, as CoreDNS would answer (docs/dns.md)."""
