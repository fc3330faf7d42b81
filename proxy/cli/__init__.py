"""The commands of `pointsman`, a module each."""
