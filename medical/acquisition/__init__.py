"""How a scanner makes slices of a head: profiles, noise, intensities."""
