"""What swanherd tells people: logs, metrics, status and the HTTP that serves them. It only reads what was published."""
