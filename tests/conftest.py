"""What all tests share: the fixtures of the real servers."""

pytest_plugins = ["servers", "matrix", "loop_world", "payment_books"]
