"""How good a restored head is, and pictures to see it by."""
