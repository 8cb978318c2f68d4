"""What can speak against an estimate: one reason, one registered function of the evidence.

A file that is added here registers what it has, with the words and the place of its reason.
"""
