"""What a network is trained to answer, a file each."""
