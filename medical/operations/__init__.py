"""What a person may ask for of scans, a file each, and the table of them."""
