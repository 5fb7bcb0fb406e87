"""What a person may ask for of clips, by name."""

from video.operations.clip_filters import InterpolateVideo, UpscaleVideo
from video.operations.text_to_video import TextToVideo

OPERATIONS = {
    "text_to_video": TextToVideo(),
    "upscale_video": UpscaleVideo(),
    "interpolate_video": InterpolateVideo(),
}
