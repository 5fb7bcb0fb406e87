"""What a person may ask for of scans, by name."""

from medical.operations.super_resolve_mri import SuperResolveMRI

OPERATIONS = {"super_resolve_mri": SuperResolveMRI()}
