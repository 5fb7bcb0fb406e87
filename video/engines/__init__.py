"""What draws clips: our own model, and how it reads prompts."""
