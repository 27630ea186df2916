"""Modules that several stages share, each listed in dvc.yaml by the stages that import it."""
