"""Pictures in, digits out, without torch."""
