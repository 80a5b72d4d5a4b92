"""How nodes and gateways ask each other: one stream a pair, many questions a message."""
