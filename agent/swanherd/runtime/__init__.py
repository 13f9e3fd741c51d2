"""The loop from facts to commands: what is due, what is known, and the lanes, the record and the wire that follow."""
