"""What a report says, as Markdown and as a page."""
