"""What should be: facts in, roles and steps out. Pure functions over frozen data; the standard library only."""
