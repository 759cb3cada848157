"""Search spaces of recipes.sequences."""
