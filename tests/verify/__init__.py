"""Checks of a deployed stack, for an operator with an AWS account. Start with tests/verify/run."""
