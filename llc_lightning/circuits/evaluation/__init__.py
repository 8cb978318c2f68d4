"""How good a circuit is: against the network, against the truth, and against chance."""
