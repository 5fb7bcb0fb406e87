"""``/v1/videos``: the interface of OpenAI's clients, whose jobs are runs of our flows."""
