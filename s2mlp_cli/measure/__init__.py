"""Everything that counts, times or checks: models in, records out. Nothing here prints."""
