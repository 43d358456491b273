"""From a checkpoint to the model that ships: export, quantising, the card, and the gate."""
