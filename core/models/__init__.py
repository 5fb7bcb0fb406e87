"""Models on disk: folders of weights with their records and cards."""
