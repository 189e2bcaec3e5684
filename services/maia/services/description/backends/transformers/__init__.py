"""The describer `transformers`: a vision-language model on this machine."""
