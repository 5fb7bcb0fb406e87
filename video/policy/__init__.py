"""What an operator does not want drawn: rules for prompts."""
