"""What is, and how to change it: one module or package per outside system. A library's types and errors stop here."""
