"""Watches; decides nothing (运维)."""
