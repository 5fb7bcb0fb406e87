"""What runs an exported model: numpy and OpenVINO, and neither torch nor diffusers."""
