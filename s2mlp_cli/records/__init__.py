"""What the commands save: frozen data with a schema. No torch here."""
