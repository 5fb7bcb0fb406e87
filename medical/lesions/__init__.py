"""Lesions: what was measured of real ones, and new ones drawn, put in, grown and filled."""
