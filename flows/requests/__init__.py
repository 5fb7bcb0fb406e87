"""What flows are asked: form fields, prompt tables, rules for paths."""
