"""Takes submissions in: well formed, new, repeated or conflicting, and whose they are (受理)."""
