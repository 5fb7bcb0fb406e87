"""What is done with a denoiser, whatever it denoises: operators, windows, restoration."""
