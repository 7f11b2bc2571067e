"""What an answer in LaTeX or plain text says: from its layout to its parts, numbers and expressions."""
