"""The edge: gRPC, HTTP/JSON by transcoding, WebSocket. Status codes are made here alone."""
