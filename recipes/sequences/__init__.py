"""Recipes that classify sequences: text, pixels one by one, sound."""
