"""Boosted trees and logistic regression, written for speed on codes."""
