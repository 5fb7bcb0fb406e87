"""Other ways to compute a network than torch's own."""
