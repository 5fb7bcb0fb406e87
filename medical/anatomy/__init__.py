"""Heads as they are and as they might be: shapes, tissues, lesions."""
