"""How rows are written down, whoever carries them: what the connectors share."""
