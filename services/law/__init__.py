"""The law as people work with it: the articles' texts, the worked examples, what a pack says and how two differ."""
