"""The library: ECSO-driven synthetic alignment data for vision-language models."""
