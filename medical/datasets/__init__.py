"""Datasets of drawn heads: from a data team's request to images, masks, splits and a report."""
