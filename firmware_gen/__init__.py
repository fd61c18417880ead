"""firmware_gen: C firmware from an integer graph."""
