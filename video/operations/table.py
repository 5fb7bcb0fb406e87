"""What a person may ask for of clips, by name."""

from video.operations.clip_filters import InterpolateVideo, UpscaleVideo
from video.operations.edit_video import EditVideo
from video.operations.extend_video import ExtendVideo
from video.operations.fill_video import FillVideo
from video.operations.text_to_video import TextToVideo

OPERATIONS = {
    "text_to_video": TextToVideo(),
    "extend_video": ExtendVideo(),
    "fill_video": FillVideo(),
    "edit_video": EditVideo(),
    "upscale_video": UpscaleVideo(),
    "interpolate_video": InterpolateVideo(),
}
