"""The describers `openai` and `anthropic`: vision-language models behind an API."""
