"""Training pictures put together: real pieces of litter on drawn and real ground, with what is no litter."""
