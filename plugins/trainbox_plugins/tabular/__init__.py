"""Regression and classification on tables of numbers, categories, truths and dates."""
