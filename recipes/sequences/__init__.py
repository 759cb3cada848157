"""Recipes that read and write sequences: text, sound, pixels one by one."""
