"""Search spaces of recipes/images."""
