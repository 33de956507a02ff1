"""Knows the register, and says who may claim what, where (资格)."""
