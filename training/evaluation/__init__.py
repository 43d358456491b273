"""How good a model is: figures, how sure they are, its mistakes, and two models compared."""
