"""Random sequences of faults over both gateways of a pair, judged by the observer: see ``make chaos``."""
