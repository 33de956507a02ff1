"""Works out what the funds pay (核算)."""
