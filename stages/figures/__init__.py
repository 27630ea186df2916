"""The figures, drawn by evaluate alone: one dependency in dvc.yaml."""
