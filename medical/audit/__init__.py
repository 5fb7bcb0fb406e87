"""Whether a dataset shows people: heads held against heads, with controls that must be found."""
