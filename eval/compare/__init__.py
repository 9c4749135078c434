"""Paired comparison of arms, its verdict and its report."""
