"""What follows from the experiments, in words; read them again after every new measurement."""

SHARED = "To be read."
REGRESSION = "To be read."
ABLATIONS = "To be read."
