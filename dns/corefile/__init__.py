"""The Corefile: from text to typed settings of every plugin, with every finding at once."""
