"""Pays from accounts, books journals, and answers (账务)."""
