"""Records in, rich renderables and texts out. No torch here, and nothing prints."""
