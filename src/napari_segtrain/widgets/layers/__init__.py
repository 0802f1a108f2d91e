"""What layers are to the program: what is read of them, and what is made as layers."""
