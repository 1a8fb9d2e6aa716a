"""Where two recordings of a call diverge."""
