"""Figures with a row for each estimate: effects, best strengths, differences between arms, variance by seeds."""
