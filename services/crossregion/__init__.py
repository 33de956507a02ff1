"""Clears what one region owes another (异地清算)."""
