"""The one definition of Service semantics: objects in, routes out, and an oracle that says what happens to a packet. Pure."""
