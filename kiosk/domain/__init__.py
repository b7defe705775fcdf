"""What a payment by face is: no I/O, no Qt, no NumPy; the standard library only."""
