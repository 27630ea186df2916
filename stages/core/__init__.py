"""What every stage imports, and nothing else: one dependency in dvc.yaml."""
