"""Every LAMINA_ variable, read once."""
