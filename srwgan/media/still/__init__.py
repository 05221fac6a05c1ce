"""Still images: files to pixels and what travels with them, and back."""
