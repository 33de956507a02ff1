"""What two or more services share.

Admission rule: a module is here only if two services use it; it is named by one noun; it imports no service.
Everything outside ``shared.runtime`` is pure: no I/O, no clock, no randomness.
"""
