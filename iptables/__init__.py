"""The iptables mode: routes compiled to rules, rendered for `iptables-restore`, read back from `iptables-save`."""
