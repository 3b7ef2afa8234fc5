"""A fleet: its phones and users, the run, its store and its summary."""
