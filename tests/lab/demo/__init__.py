"""``make demo``: a gateway pair through its faults, swanherd beside the notify script that people use today."""
