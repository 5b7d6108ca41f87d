"""Household games in ALFWorld's own format: a generator, and task sets over a folder of games."""
