"""Engines: each in its own module, imported only when used."""
