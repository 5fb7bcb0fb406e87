"""What a person may ask for of clips, a file each, and the table of them."""
