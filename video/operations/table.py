"""What a person may ask for of clips, by name."""

from video.operations.text_to_video import TextToVideo

OPERATIONS = {"text_to_video": TextToVideo()}
