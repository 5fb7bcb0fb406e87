"""Prefect flows: what runs where, when, and what a person may ask for."""
