"""The parts of a table: which rows train, validate and test a model."""

SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)  # positions in SPLITS
SPLIT = "split"  # the column of a table that says which part a row belongs to
